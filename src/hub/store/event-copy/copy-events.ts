import { DomainError } from '../../../kernel/domain-error.js';
import { leafHashOf } from '../../../lib/ledger/ledger-leaf.js';
import { GrowingTree } from '../../../lib/ledger/merkle-tree.js';
import type { EventStore, RecordedEvent } from '../event-store/event-store.port.js';
import type { CopyTarget } from './copy-target.js';
import { historyOf } from '../event-store/history-of.js';

export interface CopyProgress {
  readonly phase: 'comparing' | 'copying' | 'checking';
  /** Events that this phase has passed, from the beginning of the history. */
  readonly events: number;
}

export interface CopyResult {
  /** Events in each of the stores. */
  readonly events: number;
  /** Of these, written by this run. */
  readonly copied: number;
  /** Root of the ledger over all events, in base64 as in a checkpoint, as this run read them from the target. */
  readonly ledger_root: string;
}

export interface CopyOptions {
  /** The source may grow during the copy: copies what it holds now. Default false: growth is an error. */
  readonly ahead?: boolean;
  readonly signal?: AbortSignal;
  readonly report?: (progress: CopyProgress) => void;
}

/**
 * Copies the history of one store to another, in order. The target must hold a beginning of the same history, or nothing: a copy that was interrupted
 * anywhere is resumed by starting it again. Events that the target holds are compared, and the others are read back after they were written.
 * @throws DomainError `copy_target_differs`, `copy_source_changed`, `copy_not_equal`; errors of the stores; the reason of `signal`
 */
export async function copyEvents(source: EventStore, target: CopyTarget, options: CopyOptions = {}): Promise<CopyResult> {
  const { signal, report = () => undefined } = options;
  const [head, presentHead] = [await source.head(), await target.store.head()];
  const tree = new GrowingTree();
  /** Of what the target returns; as long as nothing was written, it is the tree of the source. */
  let found: GrowingTree | null = null;
  const present = eventsOf(historyOf(target.store, null, presentHead));
  try {
    for await (const events of historyOf(source, null, head)) {
      signal?.throwIfAborted();
      const leaves = events.map(leafHashOf);
      const known = await countPresent(events, leaves, present, tree.size);
      for (const leaf of leaves.slice(0, known)) tree.append(leaf);
      const missing = events.slice(known);
      if (missing.length > 0) {
        if (found === null) {
          found = new GrowingTree(tree);
          await target.mark('unfinished');
        }
        await target.write(missing, tree.size);
        for (const leaf of leaves.slice(known)) tree.append(leaf);
      }
      report({ phase: found === null ? 'comparing' : 'copying', events: tree.size });
    }
    const surplus = await present.next();
    if (surplus.done !== true) throw differs(tree.size, surplus.value, undefined);
  } finally {
    await present.return(undefined);
  }
  if (options.ahead !== true && (await source.head()) !== head) {
    throw new DomainError('conflict', 'copy_source_changed', 'the source has new events: a hub is still using it; stop the hub and repeat the command');
  }
  const copied = tree.size - (found?.size ?? tree.size);
  if (found !== null) {
    for await (const events of historyOf(target.store, presentHead, await target.store.head())) {
      signal?.throwIfAborted();
      for (const event of events) found.append(leafHashOf(event));
      report({ phase: 'checking', events: found.size });
    }
    if (found.size !== tree.size || !found.root().equals(tree.root())) {
      const detail = `the target returns ${found.size} events with the root ${rootText(found)}, the source ${tree.size} with ${rootText(tree)}`;
      throw new DomainError('conflict', 'copy_not_equal', `the copy differs from its source: ${detail}; remove the target and copy again`);
    }
  }
  if (options.ahead !== true) await target.mark('complete');
  return { events: tree.size, copied, ledger_root: rootText(tree) };
}

function rootText(tree: GrowingTree): string {
  return tree.root().toString('base64');
}

/** How many of the events the target holds already. @throws DomainError if it holds others in their place */
async function countPresent(
  events: readonly RecordedEvent[],
  leaves: readonly Buffer[],
  present: AsyncGenerator<RecordedEvent>,
  before: number,
): Promise<number> {
  let known = 0;
  for (const event of events) {
    const next = await present.next();
    if (next.done === true) break;
    if (leaves[known]?.equals(leafHashOf(next.value)) !== true) throw differs(before + known, next.value, event);
    known += 1;
  }
  return known;
}

function differs(index: number, found: RecordedEvent, expected: RecordedEvent | undefined): DomainError {
  const here = `event ${found.id} (${found.type}, stream ${found.stream}, revision ${found.revision})`;
  const there = expected === undefined ? 'has no more events' : `has event ${expected.id} (${expected.type}, stream ${expected.stream}) there`;
  return new DomainError(
    'conflict',
    'copy_target_differs',
    `the target has a different history: its event number ${index + 1} is ${here}, but the source ${there}; copy to an empty store`,
    { event_number: index + 1 },
  );
}

async function* eventsOf(batches: AsyncIterable<readonly RecordedEvent[]>): AsyncGenerator<RecordedEvent> {
  for await (const events of batches) yield* events;
}
