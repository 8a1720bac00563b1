import { randomUUID } from 'node:crypto';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';
import { type BackupView, CrashSystem, requireProjectionsOfFold, type StoredEvent } from './crash-system.js';
import { casesOf, IS_LONG, times } from '../support/long-proof.js';

const { describe, it } = requireTools('qemu-img', 'qemu-io', 'qemu-nbd', 'nbdcopy', 'nbdkit', 'nbdinfo');

type BackupType = 'full' | 'incremental';
type When = 'before' | 'after';

/** Systems side by side: most of the time is spent waiting for hubs to start. For a few kills a second system costs more than it saves. */
const LANES = times(1, 2);
/** With 8 MiB on each disk: long enough to be disturbed in the middle, on a busy machine and after a restart too. */
const SLOW_BYTES_PER_SECOND = 256 * 1024;

jest.setTimeout(30 * 60_000);

/** One append, named by the first event type that no earlier append has. */
interface Boundary {
  readonly category: string;
  readonly type: string;
  /** Counted from 1 among the appends with this type. */
  readonly nth: number;
  /** All types of the append, for people. */
  readonly title: string;
}

/** A story of a backup, at each event of which the hub is to be killed. */
interface Story {
  readonly title: string;
  readonly onlyInLongProof?: boolean;
  readonly type: BackupType;
  readonly when: readonly When[];
  /** What every run kills it at; bin/proof kills it at each event. */
  readonly inEveryRun: readonly string[];
  /** The first event of the part that matters; null: all of it. */
  readonly from: string | null;
  /** Categories of streams that matter; null: all. Ports and exports are no others for an incremental, so only bin/proof looks at them twice. */
  readonly categories: readonly string[] | null;
  readonly slow: boolean;
  /** What happens to the backup once its disks are being copied; may be repeated, because the hub may have died before it took notice. */
  readonly disturb: ((system: CrashSystem, backupId: string) => Promise<void>) | null;
  /** Status, and where it failed the cause. */
  readonly outcome: string;
}

const sides = (inEveryRun: When): readonly When[] => (IS_LONG ? ['after', 'before'] : [inEveryRun]);

const STORIES: readonly Story[] = casesOf([
  {
    title: 'a full',
    type: 'full',
    when: sides('after'),
    inEveryRun: ['RestorePointSealed'],
    from: null,
    categories: null,
    slow: false,
    disturb: null,
    outcome: 'completed',
  },
  {
    title: 'an incremental',
    type: 'incremental',
    when: sides('before'),
    inEveryRun: ['ChainExtended'],
    // Until its disks are fixed it goes the way of a full.
    from: IS_LONG ? null : 'SnapshotTaken',
    categories: IS_LONG ? null : ['backup', 'chain'],
    slow: false,
    disturb: null,
    outcome: 'completed',
  },
  {
    // Every run has cancellations in cancel-and-queue, with the hub alive.
    title: 'a backup that is cancelled',
    onlyInLongProof: true,
    type: 'full',
    when: sides('after'),
    inEveryRun: [],
    from: 'BackupCancelled',
    categories: null,
    slow: true,
    disturb: async (system, backupId) => {
      await system.hub.api('POST', `/backups/${backupId}/cancel`);
    },
    outcome: 'cancelled',
  },
  {
    title: 'a backup whose copy is killed',
    onlyInLongProof: true,
    type: 'full',
    when: sides('before'),
    inEveryRun: [],
    from: 'DiskTransferFailed',
    categories: null,
    slow: true,
    disturb: (system) => killFirst(system.copyPids()),
    outcome: 'failed: transfer_failed while transfer',
  },
  {
    // Every run has it in node-killed, with the hub alive.
    title: 'a backup whose export is killed',
    onlyInLongProof: true,
    type: 'full',
    when: sides('after'),
    inEveryRun: [],
    from: 'NbdExportExited',
    categories: null,
    slow: true,
    disturb: async (system, backupId) => {
      const { disk_results: disks } = await system.backup(backupId);
      await killFirst(Promise.resolve(disks.flatMap(({ qemu_nbd_pid: pid }) => (pid === null ? [] : [pid]))));
    },
    outcome: 'failed: export_exited while transfer',
  },
]);

describe('a hub that is killed at an event of a backup', () => {
  const systems: CrashSystem[] = [];
  const databases: TestDatabase[] = [];
  const boundaries = new Map<Story, readonly Boundary[]>();

  beforeAll(async () => {
    await Promise.all(
      Array.from({ length: LANES }, async () => {
        const database = await createTestDatabase({ migrated: false });
        databases.push(database);
        const system = await CrashSystem.create({ databaseUrl: database.databaseUrl });
        systems.push(system);
        await startWithFailpoint(system);
        await system.register();
        await system.takeBackup('full');
      }),
    );
    const [first] = systems;
    if (first === undefined) throw new Error('there is no system');
    for (const story of STORIES) boundaries.set(story, await undisturbed(first, story));
  });

  afterAll(async () => {
    await Promise.all(systems.map((system) => system.destroy()));
    await Promise.all(databases.map((database) => database.drop()));
  });

  it('can be killed at every event that a backup and what it needs are made of', () => {
    const types = new Set([...boundaries.values()].flat().flatMap(({ title }) => title.split('+')));
    expect([...types]).toEqual(
      expect.arrayContaining([
        ...['BackupRequested', 'BackupPlannedV2', 'DiskTargetCreated', 'TransferRequested', 'SnapshotTaken', 'DiskTransferStarted', 'DiskTransferCompleted'],
        ...['SnapshotReleased', 'RestorePointSealed', 'BackupCompleted', 'ChangeTrackingSettled', 'ChainStarted', 'ChainExtended'],
        ...(IS_LONG ? ['BackupCancelled', 'BackupUndone', 'DiskTransferFailed', 'BackupFailed', 'NbdExportExited'] : []),
        ...['NbdPortsAllocated', 'NbdPortReleased', 'NbdExportRequested', 'NbdExportStarted', 'NbdExportStopped'],
      ]),
    );
  });

  it.each(STORIES.flatMap((story) => story.when.map((when) => ({ ...story, story, when }))))(
    'right $when one, in $title: it ends with the truth, nothing is left behind, and the next incremental is right',
    async ({ story, when }) => {
      const left = (boundaries.get(story) ?? []).filter(({ title }) => IS_LONG || title.split('+').some((type) => story.inEveryRun.includes(type)));
      expect(left).not.toEqual([]);
      const failures: string[] = [];
      await Promise.all(
        systems.map(async (system) => {
          for (let boundary = left.shift(); boundary !== undefined; boundary = left.shift()) {
            const title = `${when} ${boundary.nth}. ${boundary.title}`;
            try {
              const outcome = outcomeOf(await crashAt(system, when, boundary, story));
              // Node and exports live on, so the death of a hub is no reason for another end.
              if (outcome !== story.outcome) failures.push(`${title}: ${outcome}`);
            } catch (error) {
              failures.push(`${title}: ${String(error)}`);
              // The next is not to suffer from it.
              await setFailpoint(system, null);
              await system.slowCopies(null);
              await system.hub.kill('SIGKILL');
              await startWithFailpoint(system);
            }
          }
        }),
      );
      expect(failures).toEqual([]);
    },
  );

  it('has the rows of a fold from zero in every read model after all that', async () => {
    await Promise.all(
      systems.map(async (system, index) => {
        await requireProjectionsOfFold(system.hub, databases[index]?.databaseUrl ?? '');
      }),
    );
  });
});

/** Tells the story with a hub that lives, to learn its events. */
async function undisturbed(system: CrashSystem, story: Story): Promise<readonly Boundary[]> {
  await system.changeDisks();
  if (story.slow) await system.slowCopies(SLOW_BYTES_PER_SECOND);
  const before = await system.head();
  const answer = await system.request(story.type);
  if (answer?.status !== 202) throw new Error(`${story.title} was refused: ${JSON.stringify(answer?.body ?? null)}`);
  if (story.disturb !== null) {
    await system.copying();
    await story.disturb(system, answer.body.backup_id);
  }
  const outcome = outcomeOf(await system.ended(answer.body.backup_id));
  await system.becomesQuiet();
  await system.slowCopies(null);
  if (outcome !== story.outcome) throw new Error(`${story.title} ended without any crash as: ${outcome}`);
  const events = await system.eventsAfter(before);
  const start = story.from === null ? 0 : events.findIndex(({ type }) => type === story.from);
  const found = start === -1 ? [] : boundariesOf(events, start);
  // What is disturbed while its disks are copied would not be disturbed yet at the first sign of progress, which comes when it comes.
  const certain = story.disturb === null ? found : found.filter(({ type }) => type !== 'DiskTransferProgressed');
  return certain.filter(({ category }) => story.categories?.includes(category) ?? true);
}

function startWithFailpoint(system: CrashSystem): Promise<void> {
  return system.start({ SENDENSE_FAILPOINT: `file:${failpointFile(system)}` });
}

/** The running hub dies there. A hub of its own for each failpoint would double the starts, which are most of this test's time. */
async function setFailpoint(system: CrashSystem, failpoint: string | null): Promise<void> {
  if (failpoint === null) await rm(failpointFile(system), { force: true });
  else {
    await writeFile(`${failpointFile(system)}.new`, failpoint);
    await rename(`${failpointFile(system)}.new`, failpointFile(system));
  }
}

function failpointFile(system: CrashSystem): string {
  return join(system.hub.directory, 'failpoint');
}

/** Leaves the hub running. @throws Error that says what is not as it must be */
async function crashAt(system: CrashSystem, when: When, boundary: Boundary, story: Story): Promise<BackupView> {
  const key = randomUUID();
  await system.changeDisks();
  if (story.slow) await system.slowCopies(SLOW_BYTES_PER_SECOND);
  await setFailpoint(system, `${when}:${boundary.type}:${boundary.nth}`);
  const asked = await system.request(story.type, key);
  if (asked !== null && asked.status !== 202) throw new Error(`the backup was refused: ${JSON.stringify(asked.body)}`);
  if (story.disturb !== null) {
    try {
      await system.copying();
    } catch (error) {
      throw await whyNotCopied(system, () => system.request(story.type, key), error);
    }
    // The hub may die of it before it answers.
    await story.disturb(system, asked?.body.backup_id ?? '').catch(() => undefined);
  }
  // Whether progress is recorded depends on time, and what came in two appends may come in one this time.
  const certain = boundary.nth === 1 && boundary.type !== 'DiskTransferProgressed';
  try {
    await system.hub.ended(certain ? 60_000 : 5_000);
  } catch (error) {
    if (certain) throw error;
    await system.hub.kill('SIGKILL');
  }

  await setFailpoint(system, null);
  await startWithFailpoint(system);
  // Asked once more with the same key: the same backup, never a second one.
  const again = await system.request(story.type, key);
  if (again?.status !== 202) throw new Error(`the repeated request was refused: ${JSON.stringify(again?.body ?? null)}`);
  const backupId = again.body.backup_id;
  if (asked !== null && asked.body.backup_id !== backupId) throw new Error('the repeated request made a second backup');
  // A cancel that the hub died of before it was recorded is asked for again; what was killed stays dead.
  if (story.outcome === 'cancelled') await story.disturb?.(system, backupId);
  const backup = await system.ended(backupId);
  await system.becomesQuiet();
  if (backup.status === 'completed') await system.requireIdentical(backup);

  await system.slowCopies(null);
  await system.changeDisks();
  await system.takeBackup('incremental');
  return backup;
}

/** A backup that has failed by itself never gets to be disturbed, and a hub that is to die of that failure cannot tell it any more; the next one can. */
async function whyNotCopied(system: CrashSystem, askAgain: () => ReturnType<CrashSystem['request']>, cause: unknown): Promise<Error> {
  await system.hub.kill('SIGKILL');
  await setFailpoint(system, null);
  await startWithFailpoint(system);
  const again = await askAgain();
  if (again?.status !== 202) return new Error(`${String(cause)}: the repeated request was refused: ${JSON.stringify(again?.body ?? null)}`, { cause });
  const { status, error } = await system.backup(again.body.backup_id);
  return new Error(`${String(cause)}: the backup is ${status}, ${JSON.stringify(error)}`, { cause });
}

/** Appends from an event on, in their order; without bin/proof those are left out that bring no type that an earlier one has not brought. */
function boundariesOf(events: readonly StoredEvent[], start: number): readonly Boundary[] {
  const appends = new Map<string, { readonly category: string; readonly types: Set<string>; wanted: boolean }>();
  events.forEach(({ stream, category, causation_id, time, type }, index) => {
    // What is seen of nodes meanwhile is no part of the backup.
    if (category === 'node') return;
    const append = `${stream} ${causation_id} ${time}`;
    const known = appends.get(append) ?? { category, types: new Set(), wanted: false };
    known.types.add(type);
    known.wanted ||= index >= start;
    appends.set(append, known);
  });
  const counts = new Map<string, number>();
  const boundaries: Boundary[] = [];
  for (const { category, types, wanted } of appends.values()) {
    const fresh = [...types].filter((type) => !counts.has(type));
    for (const type of types) counts.set(type, (counts.get(type) ?? 0) + 1);
    const named = fresh.length > 0 ? fresh : IS_LONG ? [...types] : [];
    const [first] = named;
    if (wanted && first !== undefined) boundaries.push({ category, type: first, nth: counts.get(first) ?? 1, title: named.join('+') });
  }
  return boundaries;
}

function outcomeOf({ status, error }: BackupView): string {
  return error === null ? status : `${status}: ${error.code} while ${error.stage}`;
}

async function killFirst(pids: Promise<readonly number[]>): Promise<void> {
  const [pid] = await pids;
  if (pid === undefined) throw new Error('there is no process to be killed');
  process.kill(pid, 'SIGKILL');
}
