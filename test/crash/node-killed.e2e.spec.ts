import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, jest } from '@jest/globals';
import { signalPid, until } from '../support/hub-system.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { inLongProof, IS_LONG } from '../support/long-proof.js';
import { requireTools } from '../support/require-tools.js';
import { type BackupView, CrashSystem, requireProjectionsOfFold } from './crash-system.js';

const { describe, it } = requireTools('qemu-img', 'qemu-io', 'qemu-nbd', 'nbdcopy', 'nbdkit', 'nbdinfo');

/** Bytes a second. With 8 MiB on each disk: long enough for anything to be killed and to come back meanwhile, on a busy machine too. */
const SLOW = 256 * 1024;

jest.setTimeout(180_000);

describe('processes that are killed in mid-transfer', () => {
  let database: TestDatabase;
  let system: CrashSystem;

  beforeAll(async () => {
    database = await createTestDatabase({ migrated: false });
    system = await CrashSystem.create({ databaseUrl: database.databaseUrl });
    await system.start();
    await system.register();
    await system.takeBackup('full');
  });

  beforeEach(async () => {
    await system.changeDisks();
    await system.slowCopies(SLOW);
  });

  /** Whatever happened: nothing is left, and what is taken next is right. In every run the next test shows that, and the last one. */
  afterEach(async () => {
    await system.slowCopies(null);
    await system.becomesQuiet();
    if (!IS_LONG) return;
    await system.changeDisks();
    await system.takeBackup('incremental');
  });

  afterAll(async () => {
    await system.destroy();
    await database.drop();
  });

  async function begin(type: 'full' | 'incremental' = 'full'): Promise<string> {
    const answer = await system.request(type);
    expect([answer?.status, answer?.body.error ?? null]).toEqual([202, null]);
    return answer?.body.backup_id ?? '';
  }

  /** That the same processes still copy. */
  async function goesOnWith(copies: readonly number[], backupId: string): Promise<void> {
    const { status, error } = await system.backup(backupId);
    expect({ copies: await system.copyPids(), status, error }).toEqual({ copies, status: 'running', error: null });
  }

  async function completes(backupId: string): Promise<BackupView> {
    await system.slowCopies(null);
    const backup = await system.ended(backupId);
    expect(backup.error).toBeNull();
    expect(backup.status).toBe('completed');
    await system.becomesQuiet();
    await system.requireIdentical(backup);
    return backup;
  }

  inLongProof(() => {
    it('resumes the same copies when the node is killed', async () => {
      const backupId = await begin();
      const copies = await system.copying();
      await system.killNode();
      await system.nodeComesBack();
      await goesOnWith(copies, backupId);
      await completes(backupId);
    });
  });

  inLongProof(() => {
    it('resumes the same copies when the hub is killed, and does not start over', async () => {
      const backupId = await begin();
      const copies = await system.copying();
      await system.hub.kill('SIGKILL');
      await system.start();
      await goesOnWith(copies, backupId);
      await completes(backupId);
      const types = await system.eventsOf(backupId);
      expect(types.filter((type) => type === 'DiskTransferStarted')).toHaveLength(2);
    });
  });

  it('resumes the same copies when hub and node are killed together', async () => {
    const backupId = await begin();
    const copies = await system.copying();
    await Promise.all([system.killNode(), system.hub.kill('SIGKILL')]);
    await system.start();
    await system.nodeComesBack();
    await goesOnWith(copies, backupId);
    await completes(backupId);
  });

  inLongProof(() => {
    it('records copies that ended while neither hub nor node lived', async () => {
      const backupId = await begin();
      await system.copying();
      await Promise.all([system.killNode(), system.hub.kill('SIGKILL')]);
      await system.slowCopies(null);
      await until('the copies to end', async () => (await system.copyPids()).length === 0);
      await system.start();
      await completes(backupId);
    });
  });

  inLongProof(() => {
    it('ends on SIGTERM, leaves the copies running, and the next hub completes the backup', async () => {
      const backupId = await begin();
      const copies = await system.copying();
      expect(await system.hub.kill('SIGTERM')).toBe(0);
      // Without waiting for them.
      expect(await system.copyPids()).toEqual(copies);
      await system.start();
      await completes(backupId);
    });
  });

  inLongProof(() => {
    it('goes on when the node ends on SIGTERM in mid-transfer', async () => {
      const backupId = await begin();
      const copies = await system.copying();
      process.kill(await system.hub.nodePid(), 'SIGTERM');
      await system.nodeComesBack();
      await goesOnWith(copies, backupId);
      await completes(backupId);
    });
  });

  it('fails with the cause at once when an export is killed, and is undone', async () => {
    const backupId = await begin();
    await system.copying();
    const [disk] = (await system.backup(backupId)).disk_results;
    const killedAt = Date.now();
    signalPid(disk?.qemu_nbd_pid, 'SIGKILL');
    const backup = await system.ended(backupId);
    expect([backup.status, backup.error?.code, backup.error?.stage]).toEqual(['failed', 'export_exited', 'transfer']);
    await system.becomesQuiet();
    const exited = (await system.eventsAfter(null)).filter((event) => event.type === 'NbdExportExited').at(-1);
    expect(exited?.data).toMatchObject({ exit_code: 137 });
    // Seen by itself, and not for want of progress, which is waited for a minute at least.
    expect(Date.parse(exited?.recorded_at ?? '') - killedAt).toBeLessThan(30_000);
    expect((await system.eventsOf(backupId)).slice(-2).sort()).toEqual(['BackupUndone', 'ChangeTrackingSettled']);
  });

  inLongProof(() => {
    it('fails with the cause when an export is killed while no hub lives, and is undone by the next', async () => {
      const backupId = await begin();
      await system.copying();
      const [disk] = (await system.backup(backupId)).disk_results;
      await system.hub.kill('SIGKILL');
      signalPid(disk?.qemu_nbd_pid, 'SIGKILL');
      await system.start();
      const backup = await system.ended(backupId);
      expect([backup.status, backup.error?.stage]).toEqual(['failed', 'transfer']);
      expect(['export_exited', 'transfer_failed']).toContain(backup.error?.code);
    });
  });

  inLongProof(() => {
    it('fails with the cause when a copy is killed, and is undone', async () => {
      const backupId = await begin();
      const [copy] = await system.copying();
      signalPid(copy, 'SIGKILL');
      const backup = await system.ended(backupId);
      expect([backup.status, backup.error?.code, backup.error?.stage]).toEqual(['failed', 'transfer_failed', 'transfer']);
    });
  });

  inLongProof(() => {
    it('fails with the cause when what holds the source still is killed, and is undone', async () => {
      const backupId = await begin();
      await system.copying();
      const exports = new Set((await system.backup(backupId)).disk_results.map(({ qemu_nbd_pid }) => qemu_nbd_pid));
      const source = (await system.pidsOf('qemu-nbd')).find((pid) => !exports.has(pid));
      signalPid(source, 'SIGKILL');
      const backup = await system.ended(backupId);
      expect([backup.status, backup.error?.stage]).toEqual(['failed', 'transfer']);
      expect(['transfer_failed', 'snapshot_lost']).toContain(backup.error?.code);
    });
  });

  inLongProof(() => {
    it('is right when the node is killed while it takes its snapshot', async () => {
      await system.slowCopies(null);
      const jobs = join(system.hub.dataDirectory, 'local-node', 'jobs');
      const asked = system.request('incremental');
      await until('the node to take the job on', async () => existsSync(jobs) && (await readdir(jobs)).length > 0);
      await system.killNode();
      const answer = await asked;
      expect(answer?.status).toBe(202);
      await completes(answer?.body.backup_id ?? '');
    });
  });

  inLongProof(() => {
    it('is right when the node is killed before it could settle', async () => {
      await system.slowCopies(null);
      const node = await system.hub.nodePid();
      await system.hub.kill('SIGKILL');
      await system.start({ SENDENSE_FAILPOINT: 'after:BackupCompleted:1' });
      expect(await system.hub.nodePid()).toBe(node);
      const answer = await system.request('incremental');
      await system.hub.ended();
      await system.killNode();
      await system.start();
      const [newest] = await system.allBackups();
      expect(answer === null || answer.body.backup_id === newest?.backup_id).toBe(true);
      await completes(newest?.backup_id ?? '');
    });
  });

  inLongProof(() => {
    it.each(['full', 'incremental'] as const)('discards what was begun of a %s that is cancelled while the node is dead', async (type) => {
      const backupId = await begin(type);
      await system.killNode();
      const answer = await system.hub.api<BackupView>('POST', `/backups/${backupId}/cancel`);
      expect([answer.status, answer.body.status]).toEqual([202, 'cancelled']);
      await system.becomesQuiet();
      expect(await system.eventsOf(backupId)).toEqual(expect.arrayContaining(['BackupCancelled', 'BackupUndone', 'ChangeTrackingSettled']));
    });
  });

  it('leaves a chain that goes on, and the rows of a fold from zero in every read model, after all that', async () => {
    await system.slowCopies(null);
    await system.takeBackup('incremental');
    await requireProjectionsOfFold(system.hub, database.databaseUrl);
  });
});
