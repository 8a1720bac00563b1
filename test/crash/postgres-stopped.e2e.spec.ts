import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, jest } from '@jest/globals';
import pg from 'pg';
import { until } from '../support/hub-system.js';
import { type OwnPostgres, startOwnPostgres } from '../support/postgres.js';
import { inLongProof, IS_LONG } from '../support/long-proof.js';
import { requireTools } from '../support/require-tools.js';
import { CrashSystem, requireProjectionsOfFold } from './crash-system.js';

const { describe, it } = requireTools('qemu-img', 'qemu-io', 'qemu-nbd', 'nbdcopy', 'nbdkit', 'nbdinfo');

/** Bytes a second. With 8 MiB on each disk: long enough for anything to be stopped and to come back meanwhile, on a busy machine too. */
const SLOW = 256 * 1024;

jest.setTimeout(180_000);

/** A command waits for the lock, and tries again for ten seconds; on a busy machine everything takes longer. */
const ANSWERED_WITHIN_MS = 60_000;

/** The server and all of its processes. */
async function postgresPids(cluster: string): Promise<readonly number[]> {
  const server = Number((await readFile(join(cluster, 'postmaster.pid'), 'utf8')).split('\n')[0]);
  const pids = [server];
  for (const entry of await readdir('/proc')) {
    const stat = /^\d+$/.test(entry) ? await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '') : '';
    // After the name in brackets: state, parent.
    if (stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] === String(server)) pids.push(Number(entry));
  }
  return pids;
}

describe('PostgreSQL that goes away in the middle of a backup', () => {
  let postgres: OwnPostgres;
  let system: CrashSystem;

  beforeAll(async () => {
    postgres = await startOwnPostgres();
    system = await CrashSystem.create({ databaseUrl: postgres.databaseUrl });
    await system.start();
    await system.register();
    await system.takeBackup('full');
  });

  beforeEach(async () => {
    await system.changeDisks();
  });

  /** Whatever happened: nothing is left, and what is taken next is right. */
  afterEach(async () => {
    await system.slowCopies(null);
    await system.becomesQuiet();
    await system.changeDisks();
    await system.takeBackup('incremental');
    if (IS_LONG) await requireProjectionsOfFold(system.hub, postgres.databaseUrl);
  });

  afterAll(async () => {
    await system.destroy();
    await postgres.remove();
  });

  it('keeps the copies going, and the backup completes once it is back', async () => {
    await system.slowCopies(SLOW);
    const answer = await system.request('full');
    const copies = await system.copying();
    await postgres.server.stop();
    expect(await system.copyPids()).toEqual(copies);
    const live = await fetch(`${system.hub.url()}/api/v1/health/live`);
    const ready = await fetch(`${system.hub.url()}/api/v1/health/ready`);
    expect([live.status, ready.status]).toEqual([200, 503]);
    await system.slowCopies(null);
    await until('the copies to end', async () => (await system.copyPids()).length === 0);
    await postgres.server.ensureStarted();
    const backup = await system.ended(answer?.body.backup_id ?? '');
    expect([backup.status, backup.error]).toEqual(['completed', null]);
    await system.becomesQuiet();
    await system.requireIdentical(backup);
  });

  /** Each bounded by what a query, a command that is tried again, and a place in the pool may take; far less than for ever. */
  async function requireAnswersInTime(path: string, code: string, body?: object): Promise<void> {
    const began = performance.now();
    const answer = await system.hub.api<{ code: string }>(body === undefined ? 'GET' : 'POST', path, body);
    expect({ path, status: answer.status, code: answer.body.code }).toEqual({ path, status: 503, code });
    expect(performance.now() - began).toBeLessThan(ANSWERED_WITHIN_MS);
  }

  async function requireRecovery(): Promise<void> {
    await until('the hub to be ready again', async () => (await fetch(`${system.hub.url()}/api/v1/health/ready`)).status === 200);
    const { status, body } = await system.hub.api<{ events: unknown[] }>('GET', '/audit/events?limit=1');
    expect({ status, events: body.events.length }).toEqual({ status: 200, events: 1 });
  }

  inLongProof(() => {
    it('does not keep the API waiting for ever when it hangs: events that another session has locked', async () => {
      const other = new pg.Client({ connectionString: postgres.databaseUrl });
      await other.connect();
      try {
        await other.query('begin; lock table event_store.events in access exclusive mode');
        const repository = { name: 'never', type: 'local', path: system.hub.directory };
        await Promise.all([
          requireAnswersInTime('/audit/streams/vm-1', 'storage_unavailable'),
          requireAnswersInTime('/repositories', 'storage_unavailable', repository),
          requireAnswersInTime('/health/ready', 'not_ready'),
        ]);
        // What needs no event is told all the while.
        expect((await system.hub.api('GET', '/backups')).status).toBe(200);
        await other.query('rollback');
      } finally {
        await other.end();
      }
      await requireRecovery();
      expect((await system.hub.api<{ repositories: { name: string }[] }>('GET', '/repositories?name=never')).body.repositories).toEqual([]);
    });
  });

  inLongProof(() => {
    it('does not keep the API waiting for ever when it hangs: stopped where it stands', async () => {
      const pids = await postgresPids(join(postgres.directory, 'postgres', 'cluster'));
      expect(pids.length).toBeGreaterThan(3);
      for (const pid of pids) process.kill(pid, 'SIGSTOP');
      try {
        await Promise.all([
          requireAnswersInTime('/backups', 'storage_unavailable'),
          requireAnswersInTime('/audit/events?limit=1', 'storage_unavailable'),
          requireAnswersInTime('/health/ready', 'not_ready'),
        ]);
      } finally {
        for (const pid of pids) process.kill(pid, 'SIGCONT');
      }
      await requireRecovery();
    });
  });

  inLongProof(() => {
    it.each([0, 300, 600, 900])('ends with the truth when it is away for a second, %i ms after the request', async (milliseconds) => {
      const known = new Set((await system.allBackups()).map(({ backup_id }) => backup_id));
      const asked = system.request('incremental');
      await pause(milliseconds);
      await postgres.server.stop();
      await pause(1_000);
      await postgres.server.ensureStarted();
      const answer = await asked;
      expect(answer?.status).toBe(202);
      const backup = await system.ended(answer?.body.backup_id ?? '');
      expect(backup.error).toBeNull();
      expect(backup.status).toBe('completed');
      await system.becomesQuiet();
      await system.requireIdentical(backup);
      expect((await system.allBackups()).filter(({ backup_id }) => !known.has(backup_id))).toHaveLength(1);
    });
  });

  it('leaves the rows of a fold from zero in every read model after all that', async () => {
    await requireProjectionsOfFold(system.hub, postgres.databaseUrl);
  });
});

inLongProof(() => {
  describe("the hub's own PostgreSQL", () => {
    let system: CrashSystem;

    beforeAll(async () => {
      system = await CrashSystem.create({ databaseUrl: null });
      await system.start();
      await system.register();
      await system.takeBackup('full');
    });

    afterAll(async () => {
      await system.destroy();
    });

    it('is started again when it is killed in mid-transfer, and the backup completes', async () => {
      await system.slowCopies(SLOW);
      const answer = await system.request('full');
      await system.copying();
      const [pid] = (await readFile(join(system.hub.dataDirectory, 'postgres', 'cluster', 'postmaster.pid'), 'utf8')).split('\n');
      process.kill(Number(pid), 'SIGKILL');
      await system.slowCopies(null);
      const backup = await system.ended(answer?.body.backup_id ?? '');
      expect([backup.status, backup.error]).toEqual(['completed', null]);
      await system.becomesQuiet();
      await system.requireIdentical(backup);
      await system.changeDisks();
      await system.takeBackup('incremental');
    });

    it('is killed together with hub and node, and the backup completes', async () => {
      await system.slowCopies(SLOW);
      const answer = await system.request('full');
      await system.copying();
      const [pid] = (await readFile(join(system.hub.dataDirectory, 'postgres', 'cluster', 'postmaster.pid'), 'utf8')).split('\n');
      process.kill(Number(pid), 'SIGKILL');
      await Promise.all([system.killNode(), system.hub.kill('SIGKILL')]);
      await system.start();
      await system.slowCopies(null);
      const backup = await system.ended(answer?.body.backup_id ?? '');
      expect([backup.status, backup.error]).toEqual(['completed', null]);
      await system.becomesQuiet();
      await system.requireIdentical(backup);
      await system.changeDisks();
      await system.takeBackup('incremental');
    });
  });
});
