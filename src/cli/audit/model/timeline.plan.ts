/** Of an event of the audit log, what a timeline shows. */
export interface TimelineEvent {
  readonly stream: string;
  readonly category: string;
  readonly type: string;
  readonly actor: string;
  readonly correlation_id: string;
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Writes a number of bytes for people. */
type BytesText = (bytes: number) => string;

/** Everything that followed from one request, or that the hub did by itself. */
export interface TimelineBlock {
  /** ISO 8601, UTC: of its first event. */
  readonly time: string;
  /** `backup 0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11 of pgtest1` */
  readonly subject: string;
  /** Who or what caused it. */
  readonly cause: string;
  readonly correlation_id: string;
  /** `completed`; of a failure with its code and detail. */
  readonly outcome: string;
  /** From its first to its last event. */
  readonly duration_ms: number;
  readonly steps: readonly TimelineStep[];
}

export interface TimelineStep {
  /** Since the block's first event. */
  readonly offset_ms: number;
  readonly actor: string;
  readonly type: string;
  /** How many events of this type the stream has in a row. */
  readonly times: number;
  /** Of the newest of them. */
  readonly detail: string;
}

/** A request for idempotency has a stream of its own, which says how it was made. */
const COMMAND = 'command';
const DECISIVE = /(?:Completed|Failed|Cancelled|Passed|Aborted)$/;
const CONTROL = /[\p{C}\p{Zl}\p{Zp}]/gu;
const MAX_DETAIL = 110;

/** @param events in their order @returns one block per correlation, ordered by their first events */
export function timelineOf(events: readonly TimelineEvent[], bytesText: BytesText): readonly TimelineBlock[] {
  return [...Map.groupBy(events, ({ correlation_id }) => correlation_id).values()].map((ofOne) => blockOf(ofOne, bytesText));
}

function blockOf(events: readonly TimelineEvent[], bytesText: BytesText): TimelineBlock {
  const root = events.find(({ category }) => category !== COMMAND) ?? events[0];
  if (root === undefined) throw new Error('a block without events');
  const ofRoot = events.filter(({ stream }) => stream === root.stream);
  const decided = ofRoot.findLast(({ type }) => DECISIVE.test(type)) ?? ofRoot.at(-1) ?? root;
  const times = events.map(({ time }) => Date.parse(time));
  const began = Math.min(...times);
  return {
    time: new Date(began).toISOString(),
    subject: subjectOf(root),
    cause: causeOf(root, events),
    correlation_id: root.correlation_id,
    outcome: outcomeOf(decided),
    duration_ms: Math.max(...times) - began,
    steps: stepsOf(events, began, bytesText),
  };
}

function subjectOf({ stream, category, data: { vm_name, name } }: TimelineEvent): string {
  const kind = words(category);
  const id = printable(stream.slice(category.length + 1));
  if (typeof vm_name === 'string') return `${kind} ${id} of ${printable(vm_name)}`;
  return typeof name === 'string' ? `${kind} ${printable(name)} (${id})` : `${kind} ${id}`;
}

function causeOf({ actor }: TimelineEvent, events: readonly TimelineEvent[]): string {
  const request = events.find(({ type }) => type === 'CommandAccepted')?.data;
  const route = request === undefined ? '' : ` with ${printable(`${String(request['method'])} ${String(request['path'])}`)}`;
  if (actor.startsWith('api:')) return `requested by ${printable(actor)}${route}`;
  if (actor.startsWith('node:')) return `reported by ${printable(actor)}`;
  return `by the hub itself (${printable(actor)})`;
}

/** `BackupFailed` of a backup -> `failed (node_silent: No report arrived for 300 s.)` */
function outcomeOf({ type, category, data }: TimelineEvent): string {
  const ofCategory = words(category).split(' ');
  const said = words(type).split(' ');
  const first = said.findIndex((word) => !ofCategory.includes(word));
  const outcome = said.slice(Math.max(first, 0)).join(' ');
  const error = isObject(data['error']) ? data['error'] : data;
  const more = typeof data['outcome'] === 'string' ? data['outcome'] : [error['code'], error['detail']].filter((part) => typeof part === 'string').join(': ');
  return more === '' ? outcome : `${outcome} (${printable(more)})`;
}

function stepsOf(events: readonly TimelineEvent[], began: number, bytesText: BytesText): readonly TimelineStep[] {
  const steps: TimelineStep[] = [];
  let previous: TimelineEvent | null = null;
  for (const event of events) {
    const { actor, type, time, stream } = event;
    const last = steps.at(-1);
    const isSame = previous !== null && last !== undefined && previous.type === type && previous.stream === stream && previous.actor === actor;
    if (isSame) steps.pop();
    const offset_ms = isSame ? last.offset_ms : Date.parse(time) - began;
    steps.push({ offset_ms, actor: printable(actor), type, times: isSame ? last.times + 1 : 1, detail: detailOf(event, bytesText) });
    previous = event;
  }
  return steps;
}

/** The members that say something to a reader: without ids, times, and what the subject says already. */
function detailOf({ data }: TimelineEvent, bytesText: BytesText): string {
  const parts = Object.entries(data).flatMap(([name, value]) => {
    if ((/(?:^at|_at|_id)$/.test(name) && name !== 'disk_id') || name === 'vm_name') return [];
    if (typeof value === 'number') return [`${name} ${/(?:^|_)bytes(?:_|$)/.test(name) ? bytesText(value) : value}`];
    if (typeof value === 'boolean') return [`${name} ${value}`];
    if (typeof value === 'string') return value === '' ? [] : [`${name} ${printable(value)}`];
    if (Array.isArray(value)) return value.length === 0 ? [] : [`${value.length} ${name}`];
    return isObject(value) ? Object.values(value).flatMap((member) => (typeof member === 'string' ? [printable(member)] : [])) : [];
  });
  const text = parts.join(', ');
  return text.length > MAX_DETAIL ? `${text.slice(0, MAX_DETAIL - 3)}...` : text;
}

/** `RestoreMount` -> `restore mount` */
function words(name: string): string {
  return name
    .replace(/V\d+$/, '')
    .replace(/(?<=[a-z0-9])(?=[A-Z])/g, ' ')
    .toLowerCase();
}

/** Names come from guests and clients: what would act on a terminal is escaped. */
function printable(text: string): string {
  return text.replace(CONTROL, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
