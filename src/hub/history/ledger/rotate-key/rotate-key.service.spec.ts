import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { InMemoryEventStore } from '../../../../../test/support/in-memory-event-store.js';
import { Clock, Ids } from '../../../../lib/clock/clock.js';
import { openCheckpoint, signCheckpoint } from '../../../../lib/ledger/checkpoint.js';
import { openRotation } from '../../../../lib/ledger/key-rotation.js';
import { EMPTY_ROOT } from '../../../../lib/ledger/merkle-tree.js';
import { type NoteVerifier, parseVerifier } from '../../../../lib/ledger/signed-note.js';
import { HubConfig } from '../../../hub.config.js';
import { asDomainEvent, CommandRunner } from '../../../store/event-store/command-runner.js';
import { type LedgerEvent, ledgerStream } from '../model/ledger.events.js';
import { LedgerKeys } from '../model/ledger-keys.service.js';
import { LedgerKeyRotation } from './rotate-key.service.js';

const HUB = '6b7e4f0a-0000-4000-8000-000000000001';
const KILLED = new Error('killed');

let directory: string;
let store: InMemoryEventStore;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sendense-rotation-'));
  store = new InMemoryEventStore();
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** A start of the hub, on what the one before has left. */
async function started(): Promise<{ readonly keys: LedgerKeys; readonly rotate: () => Promise<string> }> {
  const keys = new LedgerKeys(Object.assign(new HubConfig(), { sharedDirectory: directory }), HUB);
  keys.onModuleInit();
  const rotation = new LedgerKeyRotation(keys, new CommandRunner(store, new Clock(), HUB), new Clock(), HUB);
  await rotation.onApplicationBootstrap();
  const id = new Ids().next();
  return { keys, rotate: async () => (await rotation.rotate({ commandId: id, correlationId: id, actor: 'api:token' })).key };
}

/** Keys that a verifier trusts that knows the first one and has all events. */
async function trusted(first: string): Promise<readonly NoteVerifier[]> {
  const keys = [parseVerifier(first)];
  for await (const recorded of store.read(ledgerStream(HUB))) keys.push(openRotation(asDomainEvent<LedgerEvent>(recorded).data.statement, keys));
  return keys;
}

describe('a rotation of the key in which the hub is killed', () => {
  it.each([
    [
      'before the next key is written',
      (keys: LedgerKeys) =>
        jest.spyOn(keys, 'makeNext').mockImplementation(() => {
          throw KILLED;
        }),
      false,
    ],
    ['before the event is recorded', () => jest.spyOn(store, 'append').mockRejectedValueOnce(KILLED), false],
    [
      'after the event was recorded',
      (keys: LedgerKeys) =>
        jest.spyOn(keys, 'useNext').mockImplementation(() => {
          throw KILLED;
        }),
      true,
    ],
  ])('%s, has happened or has not, and the next start signs with the right key', async (_when, kill, hasHappened) => {
    const before = await started();
    const first = before.keys.verifier;
    kill(before.keys);
    await expect(before.rotate()).rejects.toThrow('killed');

    const { keys, rotate } = await started();
    expect(keys.verifier !== first).toBe(hasHappened);
    expect(await readdir(directory)).toEqual(['ledger.key']);
    const note = signCheckpoint({ origin: keys.origin, size: 0, root: EMPTY_ROOT }, keys.privateKey);
    expect(openCheckpoint(note, await trusted(first)).size).toBe(0);

    const again = await rotate();
    expect((await started()).keys.verifier).toBe(again);
    expect((await trusted(first)).length).toBe(hasHappened ? 3 : 2);
  });
});
