/** Events of one stream that follow each other, and are stored together. */
export interface Run<Event> {
  readonly stream: string;
  readonly expected: number | 'no_stream';
  readonly events: readonly Event[];
}

interface Placed {
  readonly stream: string;
  readonly revision: number;
  readonly data: unknown;
  readonly metadata: unknown;
}

/** Well below what a store takes in one append, even if all characters need four bytes. A single event may be larger. */
const MAX_CHARACTERS = 192 * 1024;

/** Cuts a history into appends that leave its order as it is. */
export function* runsOf<Event extends Placed>(events: readonly Event[]): Generator<Run<Event>> {
  let run: Event[] = [];
  let characters = 0;
  for (const event of events) {
    const size = JSON.stringify([event.data, event.metadata]).length;
    if (run.length > 0 && (run[0]?.stream !== event.stream || characters + size > MAX_CHARACTERS)) {
      yield* asRun(run);
      run = [];
      characters = 0;
    }
    run.push(event);
    characters += size;
  }
  yield* asRun(run);
}

function* asRun<Event extends Placed>(events: readonly Event[]): Generator<Run<Event>> {
  const [first] = events;
  if (first !== undefined) yield { stream: first.stream, expected: first.revision === 0 ? 'no_stream' : first.revision - 1, events };
}
