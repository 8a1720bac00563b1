import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';
import { type BackupView, CrashSystem, type StoredEvent } from './crash-system.js';

const { describe, it } = requireTools('qemu-img', 'qemu-io', 'qemu-nbd', 'nbdcopy', 'nbdkit', 'nbdinfo');

type BackupType = 'full' | 'incremental';
type When = 'before' | 'after';

/** Systems side by side: most of the time is spent waiting for hubs to start. */
const LANES = 2;
/** All moments at all events take too long for every change; bin/proof asks for them. */
const EVERYTHING = process.env['SENDENSE_CRASH_MATRIX'] === 'full';

jest.setTimeout(30 * 60_000);

/** One append of a backup, named by the first event type that no earlier append has. */
interface Boundary {
  readonly type: string;
  /** All types of the append, for people. */
  readonly title: string;
}

describe('a hub that is killed at an event of a backup', () => {
  const systems: CrashSystem[] = [];
  const databases: TestDatabase[] = [];
  const boundaries: Record<BackupType, readonly Boundary[]> = { full: [], incremental: [] };

  beforeAll(async () => {
    await Promise.all(
      Array.from({ length: LANES }, async () => {
        const database = await createTestDatabase({ migrated: false });
        databases.push(database);
        const system = await CrashSystem.create({ databaseUrl: database.databaseUrl });
        systems.push(system);
        await system.start();
        await system.register();
      }),
    );
    const [first] = systems;
    if (first === undefined) throw new Error('there is no system');
    for (const type of ['full', 'incremental'] as const) {
      const before = (await first.eventsAfter(null)).at(-1)?.position ?? null;
      await first.changeDisks();
      await first.takeBackup(type);
      boundaries[type] = boundariesOf(await first.eventsAfter(before));
    }
    for (const system of systems.slice(1)) {
      await system.takeBackup('full');
      await system.changeDisks();
      await system.takeBackup('incremental');
    }
    await Promise.all(systems.map((system) => system.hub.kill('SIGKILL')));
  });

  afterAll(async () => {
    await Promise.all(systems.map((system) => system.destroy()));
    await Promise.all(databases.map((database) => database.drop()));
  });

  it('is killed at every event that a backup and what it needs are made of', () => {
    const types = (type: BackupType): string[] => boundaries[type].flatMap(({ title }) => title.split('+'));
    const common = [
      ...['BackupRequested', 'BackupPlanned', 'DiskTargetCreated', 'TransferRequested', 'SnapshotTaken', 'DiskTransferStarted', 'DiskTransferCompleted'],
      ...['SnapshotReleased', 'RestorePointSealed', 'BackupCompleted', 'ChangeTrackingSettled'],
      ...['NbdPortsAllocated', 'NbdPortReleased', 'NbdExportRequested', 'NbdExportStarted', 'NbdExportStopped'],
    ];
    expect(types('full')).toEqual(expect.arrayContaining([...common, 'ChainStarted']));
    expect(types('incremental')).toEqual(expect.arrayContaining([...common, 'ChainExtended']));
  });

  const cases: readonly (readonly [When, BackupType])[] = [
    ['after', 'full'],
    ['before', 'incremental'],
    ...(EVERYTHING
      ? ([
          ['before', 'full'],
          ['after', 'incremental'],
        ] as const)
      : []),
  ];
  it.each(cases)('right %s each, in a %s backup: it ends with the truth, nothing is left behind, and the next incremental is right', async (when, type) => {
    const left = [...boundaries[type]];
    const failures: string[] = [];
    const outcomes = new Map<string, string[]>();
    await Promise.all(
      systems.map(async (system) => {
        for (let boundary = left.shift(); boundary !== undefined; boundary = left.shift()) {
          const began = performance.now();
          try {
            const backup = await crashAt(system, when, boundary, type);
            const outcome = backup.error === null ? backup.status : `${backup.status}: ${backup.error.code} while ${backup.error.stage}`;
            outcomes.set(outcome, [...(outcomes.get(outcome) ?? []), boundary.title]);
            process.stderr.write(`${when} ${boundary.title} (${type}): ${outcome}, ${Math.round(performance.now() - began)} ms\n`);
          } catch (error) {
            process.stderr.write(`${when} ${boundary.title} (${type}): ${String(error)}\n`);
            failures.push(`${when} ${boundary.title}: ${String(error)}`);
          }
          await system.hub.kill('SIGKILL');
        }
      }),
    );
    expect(failures).toEqual([]);
    // The node and the exports live on, so a hub's death is no reason for a backup to fail.
    expect([...outcomes.keys()]).toEqual(['completed']);
  });

  it('has the rows of a fold from zero in every read model after all that', async () => {
    await Promise.all(
      systems.map(async (system, index) => {
        await system.start();
        await system.requireProjectionsOfFold(databases[index]?.databaseUrl ?? '');
      }),
    );
  });
});

/** Leaves the hub running. @throws Error that says what is not as it must be */
async function crashAt(system: CrashSystem, when: When, boundary: Boundary, type: BackupType): Promise<BackupView> {
  const key = randomUUID();
  await system.start({ SENDENSE_FAILPOINT: `${when}:${boundary.type}:1` });
  const asked = await system.request(type, key);
  if (asked !== null && asked.status !== 202) throw new Error(`the backup was refused: ${JSON.stringify(asked.body)}`);
  await system.hub.ended(30_000);

  await system.start();
  // Asked once more with the same key: the same backup, never a second one.
  const again = await system.request(type, key);
  if (again?.status !== 202) throw new Error(`the repeated request was refused: ${JSON.stringify(again?.body ?? null)}`);
  if (asked !== null && asked.body.backup_id !== again.body.backup_id) throw new Error('the repeated request made a second backup');
  const backup = await system.ended(again.body.backup_id);
  await system.becomesQuiet();
  if (backup.status === 'completed') await system.requireIdentical(backup);

  await system.changeDisks();
  await system.takeBackup('incremental');
  await system.changeDisks();
  return backup;
}

/** Appends in their order, those left out that bring no type that an earlier one has not brought. */
function boundariesOf(events: readonly StoredEvent[]): readonly Boundary[] {
  const appends = new Map<string, string[]>();
  for (const { stream, category, causation_id, time, type } of events) {
    // What is seen of nodes meanwhile is no part of the backup.
    if (category === 'node') continue;
    const append = `${stream} ${causation_id} ${time}`;
    const types = appends.get(append) ?? [];
    if (!types.includes(type)) types.push(type);
    appends.set(append, types);
  }
  const known = new Set<string>();
  const boundaries: Boundary[] = [];
  for (const types of appends.values()) {
    const fresh = types.filter((type) => !known.has(type));
    const [first] = fresh;
    if (first !== undefined) boundaries.push({ type: first, title: fresh.join('+') });
    for (const type of fresh) known.add(type);
  }
  return boundaries;
}
