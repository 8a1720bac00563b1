import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { signCheckpoint } from './checkpoint.js';
import { type ExportedEvent, HistoryCheck, type KeptRestorePoint, type Problem, type Witness } from './history-check.js';
import { signRotation } from './key-rotation.js';
import { leafHashOf } from './ledger-leaf.js';
import { GrowingTree } from './merkle-tree.js';
import { verifierOf } from './signed-note.js';

const ORIGIN = 'sendense/h1';
const { privateKey } = generateKeyPairSync('ed25519');
const second = generateKeyPairSync('ed25519').privateKey;
const key = verifierOf(ORIGIN, privateKey);

/** Event `index` of three streams in turns. */
function event(index: number, more: Partial<ExportedEvent> = {}): ExportedEvent {
  return {
    position: String(index + 1).padStart(19, '0'),
    stream: `vm-${index % 3}`,
    revision: Math.floor(index / 3),
    id: `id-${index}`,
    type: 'VmRenamed',
    data: { name: `n${index}` },
    metadata: { actor: 'api:token' },
    recordedAt: '2026-11-21T10:30:00.000Z',
    ...more,
  };
}

const HISTORY = Array.from({ length: 60 }, (_, index) => event(index));

function witness(size: number, signer = privateKey, history: readonly ExportedEvent[] = HISTORY): Witness {
  const tree = new GrowingTree();
  for (const each of history.slice(0, size)) tree.append(leafHashOf(each));
  const note = signCheckpoint({ origin: ORIGIN, size, root: tree.root() }, signer);
  return { source: `point ${size}`, note, at: `2026-11-21T10:${String(size).padStart(2, '0')}:00.000Z` };
}

function check(history: readonly ExportedEvent[], witnesses: readonly Witness[], kept?: ReadonlyMap<string, readonly KeptRestorePoint[]>): readonly Problem[] {
  const found = new HistoryCheck(witnesses, [key]);
  for (const each of history) found.add(each);
  return found.problems(true, kept);
}

const WITNESSES = [witness(10), witness(25), witness(40)];

describe('a history against the checkpoints that others keep', () => {
  it('agrees where nothing was changed, also with events since', () => {
    expect(check(HISTORY, WITNESSES)).toEqual([]);
    expect(check(HISTORY.slice(0, 40), [...WITNESSES, witness(0)])).toEqual([]);
  });

  it('names the events among which one was changed', () => {
    const changed = HISTORY.with(27, event(27, { data: { name: 'other' } }));
    expect(check(changed, WITNESSES)).toMatchObject([{ kind: 'events_differ', first_event: 25, last_event: 39 }]);
  });

  it('names the first event after a deleted one', () => {
    const problems = check(HISTORY.toSpliced(12, 1), WITNESSES);
    expect(problems).toContainEqual(expect.objectContaining({ kind: 'event_out_of_order', first_event: 14, first_position: event(15).position }));
    expect(problems).toContainEqual(expect.objectContaining({ kind: 'events_differ', first_event: 10, last_event: 24 }));
  });

  it('names an inserted event, and events that changed places', () => {
    const inserted = HISTORY.toSpliced(12, 0, event(12, { id: 'forged' }));
    expect(check(inserted, WITNESSES)).toContainEqual(expect.objectContaining({ kind: 'event_out_of_order', first_event: 13 }));
    const turned = HISTORY.with(12, event(13, { position: event(12).position })).with(13, event(12, { position: event(13).position }));
    expect(check(turned, WITNESSES)).toMatchObject([{ kind: 'events_differ', first_event: 10, last_event: 24 }]);
  });

  it('names the first of the newest events that were cut off', () => {
    expect(check(HISTORY.slice(0, 33), WITNESSES)).toMatchObject([{ kind: 'events_missing', first_event: 33 }]);
  });

  it('does not trust a checkpoint of another key', () => {
    expect(check(HISTORY, [witness(10, second)])).toMatchObject([{ kind: 'checkpoint_untrusted' }]);
  });

  it('trusts a new key that the old one has named', () => {
    const rotation = { stream: 'ledger-h1', revision: 0, type: 'LedgerKeyRotated' };
    const by = (signer: typeof privateKey): ExportedEvent[] => [
      ...HISTORY,
      event(60, { ...rotation, data: { statement: signRotation(ORIGIN, second, '2026-11-21T10:30:00.000Z', signer) } }),
    ];
    expect(check(by(privateKey), [...WITNESSES, witness(50, second)])).toEqual([]);
    expect(check(by(second), [...WITNESSES, witness(50, second)])).toMatchObject([{ kind: 'checkpoint_untrusted' }]);
  });
});

describe('checkpoints without events', () => {
  const alone = (...witnesses: readonly Witness[]): readonly Problem[] => new HistoryCheck(witnesses, [key]).problems(false);

  it('agree if their sizes grow with time', () => {
    expect(alone(...WITNESSES)).toEqual([]);
  });

  it('contradict each other if two histories have the same length, or one began again', () => {
    const forged = HISTORY.with(3, event(3, { id: 'forged' }));
    expect(alone(...WITNESSES, { ...witness(25, privateKey, forged), at: '2026-11-21T10:25:01.000Z' })).toMatchObject([{ kind: 'checkpoint_contradicts' }]);
    expect(alone(...WITNESSES, { ...witness(12), at: '2026-11-21T11:00:00.000Z' })).toMatchObject([{ kind: 'history_went_back' }]);
  });
});

describe('a repository that was put back to an earlier state', () => {
  const sealed = (index: number, id: string): ExportedEvent[] => [
    event(index, { stream: `backup-${id}`, revision: 0, type: 'BackupRequested', data: { repository_id: 'r1' } }),
    event(index + 1, { stream: `backup-${id}`, revision: 1, type: 'RestorePointSealed', data: { folder: `vm/${id}`, manifest_sha256: `hash-${id}` } }),
  ];
  const history = [...sealed(0, 'a'), ...sealed(2, 'b'), ...sealed(4, 'c'), event(6, { stream: 'backup-c', revision: 2, type: 'BackupDeleted', data: {} })];
  const kept = (...points: readonly string[]) => new Map([['r1', points.map((id) => ({ backup_id: id, folder: `vm/${id}`, manifest_sha256: `hash-${id}` }))]]);

  it('lacks restore points that were sealed and never deleted', () => {
    expect(check(history, [], kept('a', 'b'))).toEqual([]);
    expect(check(history, [], kept('a'))).toMatchObject([{ kind: 'restore_point_missing', first_event: 3 }]);
  });

  it('has manifests that are not those that were sealed', () => {
    const other = new Map([['r1', [...(kept('a').get('r1') ?? []), { backup_id: 'b', folder: 'vm/b', manifest_sha256: 'other' }]]]);
    expect(check(history, [], other)).toMatchObject([{ kind: 'restore_point_differs', first_event: 3 }]);
  });
});
