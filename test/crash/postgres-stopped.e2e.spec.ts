import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, jest } from '@jest/globals';
import { until } from '../support/hub-system.js';
import { type OwnPostgres, startOwnPostgres } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';
import { CrashSystem } from './crash-system.js';

const { describe, it } = requireTools('qemu-img', 'qemu-io', 'qemu-nbd', 'nbdcopy', 'nbdkit', 'nbdinfo');

/** Bytes a second. With 8 MiB on each disk: long enough for anything to be stopped and to come back meanwhile, on a busy machine too. */
const SLOW = 256 * 1024;

jest.setTimeout(180_000);

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
    await system.requireProjectionsOfFold(postgres.databaseUrl);
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

  it.each([0, 150, 300, 450, 600, 900])('ends with the truth when it is away for a second, %i ms after the request', async (milliseconds) => {
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
