import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import { mountsBelow } from '../../src/lib/files/mount-table.js';
import { ShellProcessSupervisor } from '../../src/lib/process/shell-process-supervisor.js';
import type { RestoreExportResponse } from '../../src/hub/restore/restore-exports/model/restore-export.response.js';
import type { RestoreJobResponse } from '../../src/hub/restore/restore-jobs/model/restore-job.response.js';
import type { RestoreMountResponse } from '../../src/hub/restore/restore-mounts/model/restore-mount.response.js';
import type { VerificationResponse } from '../../src/hub/backup/verifications/model/verification.response.js';
import { BackupClient, filesBelow } from '../support/backup-client.js';
import { changeGuestDisk, emptyFile, makeGuestDisk } from '../support/guest-disk.js';
import { type ApiAnswer, HubSystem, until } from '../support/hub-system.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { keyFileOf, through } from '../support/published-export.js';
import { requireTools } from '../support/require-tools.js';
import { ToolGates } from '../support/tool-gates.js';
import { IS_LONG } from '../support/long-proof.js';

jest.setTimeout(240_000);
const run = promisify(execFile);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo', 'qemu-storage-daemon', 'losetup', 'mkfs.ext4');
/** An access is recorded when the last one lies back a tenth of this. */
const IDLE_SECONDS = 60;

let database: TestDatabase;
let system: HubSystem;
let gates: ToolGates;
let client: BackupClient;
let incremental: BackupResponse;
let content: readonly string[];
let sealed: Record<string, string>;
let foreign: ForeignThings;
let folders = 0;

beforeAll(async () => {
  foreign = await ForeignThings.create();
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({
    databaseUrl: database.databaseUrl,
    env: { SENDENSE_MOUNT_DRIVER: 'fuse', SENDENSE_MOUNT_CLEANUP_INTERVAL_SECONDS: '1', SENDENSE_MOUNT_IDLE_SECONDS: String(IDLE_SECONDS) },
  });
  gates = await ToolGates.create(join(system.directory, 'gates'));
  await system.start(hubSettings());
  client = new BackupClient(system);
  const repository = await client.createRepository('main', system.repositoryPath);
  const folder = join(system.imageRoot, 'pgtest1');
  const disk0 = join(folder, 'disk0.qcow2');
  await makeGuestDisk(disk0, { filesystem: 'ext4', table: 'none', mib: 32, fill: (root) => writeFile(join(root, 'hostname'), 'full\n') });
  // Nothing that could be mounted.
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', join(folder, 'disk1.qcow2'), '16M']);
  await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 1M 1M', join(folder, 'disk1.qcow2')]);
  await client.registerVm('pgtest1', folder);
  await client.backUp('pgtest1', repository, 'full');
  await changeGuestDisk(disk0, 'none', (root) => writeFile(join(root, 'hostname'), 'incremental\n'));
  incremental = await client.backUp('pgtest1', repository, 'incremental');
  content = [0, 1].map((disk) => join(system.directory, `content-${disk}`));
  for (const disk of [0, 1]) await run('qemu-img', ['convert', '-O', 'raw', join(folder, `disk${disk}.qcow2`), content[disk] ?? '']);
  sealed = await filesBelow(system.repositoryPath);
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
  await foreign.remove();
});

/** What no hub has made, and so none may end: of the same kinds, by the same programs. */
class ForeignThings {
  private readonly supervisor = new ShellProcessSupervisor();
  private loop = '';
  private constructor(private readonly directory: string) {}

  static async create(): Promise<ForeignThings> {
    const things = new ForeignThings(await mkdtemp(join(tmpdir(), 'sendense-foreign-')));
    const path = (name: string): string => join(things.directory, name);
    await emptyFile(path('disk.raw'), 1);
    await writeFile(path('shown'), '');
    things.loop = (await run('losetup', ['--find', '--show', path('disk.raw')])).stdout.trim();
    await things.supervisor.start(path('qemu-nbd'), ['qemu-nbd', '--persistent', '--read-only', '-f', 'raw', '-k', path('socket'), path('disk.raw')]);
    await things.supervisor.start(path('qemu-storage-daemon'), [
      'qemu-storage-daemon',
      '--blockdev',
      JSON.stringify({ driver: 'file', 'node-name': 'disk', 'read-only': true, filename: path('disk.raw') }),
      '--export',
      JSON.stringify({ type: 'fuse', id: 'disk', 'node-name': 'disk', mountpoint: path('shown'), writable: false }),
    ]);
    await until('the foreign things to stand', async () => (await things.missing()).length === 0);
    return things;
  }

  async missing(): Promise<readonly string[]> {
    const missing: string[] = [];
    for (const name of ['qemu-nbd', 'qemu-storage-daemon']) {
      if ((await this.supervisor.status(join(this.directory, name))).state !== 'running') missing.push(name);
    }
    if ((await mountsBelow(join(this.directory, 'shown'))).length !== 1) missing.push('FUSE mount');
    const { stdout } = await run('losetup', ['--noheadings', '--output', 'BACK-FILE', this.loop]).catch(() => ({ stdout: '' }));
    if (stdout.trim() !== join(this.directory, 'disk.raw')) missing.push('loop device');
    return missing;
  }

  async remove(): Promise<void> {
    for (const name of ['qemu-nbd', 'qemu-storage-daemon']) await this.supervisor.stop(join(this.directory, name), 5_000);
    await run('losetup', ['--detach', this.loop]);
    await rm(this.directory, { recursive: true, force: true });
  }
}

type Answer = ApiAnswer<unknown> | null;

/** Something that a user asks for, at each event of which the hub is to be killed. */
interface Story {
  readonly title: string;
  /** Every event of it, in order; where two hubs may be needed to see one, it is left to bin/proof. */
  readonly events: readonly string[];
  /** Of all the failpoints, those that every run tries. */
  readonly inEveryRun: readonly string[];
  /** Asks for it; is asked again with the same key by the next hub. The answers of a hub that dies never come. */
  readonly ask: (key: string, target: string) => Promise<void>;
  /** What must be true in the end. Nothing may be left by then but what `ask` was for. */
  readonly truth: (key: string, target: string, failpoint: string) => Promise<void>;
}

/** null when the hub went away before it answered. */
async function asked(method: string, path: string, body?: object, key?: string): Promise<Answer> {
  return system.api(method, path, body, key === undefined ? {} : { 'idempotency-key': key }).catch(() => null);
}

async function ok<Body>(method: string, path: string, body?: object, key?: string): Promise<Body> {
  const answer = await system.api<Body>(method, path, body, key === undefined ? {} : { 'idempotency-key': key });
  if (answer.status >= 300) throw new Error(`${method} ${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}

const mountRequest = (disk: number) => ({ backup_id: incremental.backup_id, disk_index: disk });
const restoreRequest = (target: string) => ({ backup_id: incremental.backup_id, target_path: target, format: 'raw' });
const importRequest = (target: string) => ({ path: target, name: vmOf(target) });
const exportRequest = () => ({ backup_id: incremental.backup_id, disk_index: 0, mode: 'read_write' });

async function mountsAtRest(): Promise<readonly RestoreMountResponse[]> {
  return until('the mounts to come to rest', async () => {
    const { mounts } = await ok<{ mounts: RestoreMountResponse[] }>('GET', '/restore/mounts');
    return mounts.every(({ status }) => status === 'mounted') ? mounts : null;
  });
}

async function jobOf(target: string): Promise<RestoreJobResponse> {
  return until('the job to be through', async () => {
    const { jobs } = await ok<{ jobs: RestoreJobResponse[] }>('GET', '/restore/jobs?limit=1000');
    return jobs.find(({ target_path, cleaned_up }) => target_path === target && cleaned_up) ?? null;
  });
}

/** A mount stands whole, or there is nothing of it. */
async function requireMountsToWork(): Promise<void> {
  for (const { mount_id } of await mountsAtRest()) {
    const token = (await readFile(join(system.dataDirectory, 'api.token'), 'utf8')).trim();
    const answer = await fetch(`${system.url()}/api/v1/restore/${mount_id}/download?path=/hostname`, { headers: { authorization: `Bearer ${token}` } });
    expect(await answer.text()).toBe('incremental\n');
    await ok('DELETE', `/restore/${mount_id}`);
  }
  await until('every slot to be free', async () => (await ok<{ slots_used: number }>('GET', '/restore/resources')).slots_used === 0);
}

const STORIES: readonly Story[] = [
  {
    title: 'a mount',
    events: ['MountRequested', 'MountReady', 'UnmountRequested', 'MountReleased'],
    inEveryRun: ['before:MountReady'],
    ask: async (key) => {
      const answer = await asked('POST', '/restore/mount', mountRequest(0), key);
      const { mount_id: mountId } = (answer?.body ?? {}) as Partial<RestoreMountResponse>;
      if (mountId !== undefined) await asked('DELETE', `/restore/${mountId}`);
    },
    truth: requireMountsToWork,
  },
  {
    title: 'the use of a mount',
    events: ['MountAccessed'],
    inEveryRun: [],
    ask: async (key) => {
      const answer = await asked('POST', '/restore/mount', mountRequest(0), key);
      const { mount_id: mountId } = (answer?.body ?? {}) as Partial<RestoreMountResponse>;
      await until('the hub to be killed', async () => (await asked('GET', `/restore/${mountId ?? ''}/files`)) === null);
    },
    truth: requireMountsToWork,
  },
  {
    title: 'a mount of what cannot be mounted',
    events: ['MountRequested', 'MountFailed'],
    inEveryRun: [],
    ask: async (key) => {
      await asked('POST', '/restore/mount', mountRequest(1), key);
    },
    truth: async (key) => {
      expect(await mountsAtRest()).toEqual([]);
      const { body } = await system.api<{ code: string }>('POST', '/restore/mount', mountRequest(1), { 'idempotency-key': key });
      expect(['filesystem_not_found', 'mount_interrupted']).toContain(body.code);
      await until('every slot to be free', async () => (await ok<{ slots_used: number }>('GET', '/restore/resources')).slots_used === 0);
    },
  },
  {
    title: 'a restore of disks',
    events: [
      ...['RestoreJobRequested', 'DiskRestoreStarted', 'DiskRestoreCopied', 'DiskRestoreCompared', 'RestoreSourcesVerified'],
      ...['RestoreJobCompleted', 'RestoreJobCleanedUp'],
    ],
    inEveryRun: ['before:RestoreJobCompleted'],
    ask: async (key, target) => {
      await asked('POST', '/restore/disks', restoreRequest(target), key);
    },
    truth: async (key, target) => {
      await ok('POST', '/restore/disks', restoreRequest(target), key);
      expect(await jobOf(target)).toMatchObject({ status: 'completed', error: null });
      expect((await readdir(target)).sort()).toEqual(['pgtest1-disk0.raw', 'pgtest1-disk1.raw']);
      for (const disk of [0, 1]) {
        await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', content[disk] ?? '', join(target, `pgtest1-disk${disk}.raw`)]);
      }
    },
  },
  {
    title: 'a restore that is cancelled',
    events: ['RestoreJobCancelled', 'RestoreJobCleanedUp'],
    inEveryRun: [],
    ask: async (key, target) => {
      const gate = await gates.hold('qemu-img', 'convert -p');
      const answer = await asked('POST', '/restore/disks', restoreRequest(target), key);
      const { job_id: jobId } = (answer?.body ?? {}) as Partial<RestoreJobResponse>;
      if (jobId !== undefined) await asked('POST', `/restore/jobs/${jobId}/cancel`);
      // What the gate held goes on only then, unless the job has ended it.
      await until('the hub to be killed', hubIsGone);
      await gate.open();
    },
    truth: async (_key, target, failpoint) => {
      // A cancellation that was never recorded never was.
      const status = failpoint === 'before:RestoreJobCancelled' ? 'completed' : 'cancelled';
      expect(await jobOf(target)).toMatchObject({ status });
      expect((await readdir(target)).length).toBe(status === 'completed' ? 2 : 0);
    },
  },
  {
    title: 'a restore that fails',
    events: ['RestoreJobFailed', 'RestoreJobCleanedUp'],
    inEveryRun: [],
    ask: async (key, target) => {
      await gates.fail('qemu-img', 'compare -p', 1, 'Content mismatch at offset 0!');
      await asked('POST', '/restore/disks', restoreRequest(target), key);
    },
    truth: async (_key, target) => {
      expect(await jobOf(target)).toMatchObject({ status: 'failed', error: { code: 'restored_content_differs' }, files: [] });
      expect(await readdir(target)).toEqual([]);
      await gates.openAll();
    },
  },
  {
    title: 'an export',
    events: [
      ...['RestoreExportRequested', 'NbdPortsAllocated', 'NbdExportRequested', 'NbdExportStarted', 'RestoreExportStarted'],
      ...['RestoreExportEnded', 'NbdExportStopped', 'NbdPortReleased', 'RestoreExportCleanedUp'],
    ],
    inEveryRun: [],
    ask: async (key) => {
      const answer = await asked('POST', '/restore/exports', exportRequest(), key);
      const { export_id: exportId } = (answer?.body ?? {}) as Partial<RestoreExportResponse>;
      if (exportId !== undefined) await asked('DELETE', `/restore/exports/${exportId}`);
    },
    truth: async () => {
      const exports = await until('the exports to come to rest', async () => {
        const { exports: all } = await ok<{ exports: RestoreExportResponse[] }>('GET', '/restore/exports');
        return all.every(({ status }) => status !== 'starting') ? all : null;
      });
      for (const { export_id, status, uri } of exports) {
        if (status !== 'running') continue;
        const keyFile = await keyFileOf(system, export_id);
        await through({ uri: uri ?? '', keyFile }, `qemu-img compare -f raw -F raw '${content[0] ?? ''}' "$uri"`);
        await ok('DELETE', `/restore/exports/${export_id}`);
      }
    },
  },
  {
    title: 'a verification',
    events: ['VerificationRequested', 'VerificationPassed'],
    inEveryRun: [],
    ask: async (key) => {
      await asked('POST', `/backups/${incremental.backup_id}/verify`, undefined, key);
    },
    truth: async (key) => {
      const { verification_id: wanted } = await ok<VerificationResponse>('POST', `/backups/${incremental.backup_id}/verify`, undefined, key);
      const verdict = await until('the verdict', async () => {
        const { verifications } = await ok<{ verifications: VerificationResponse[] }>('GET', `/backups/${incremental.backup_id}/verifications`);
        return verifications.find(({ verification_id, status }) => verification_id === wanted && status !== 'running') ?? null;
      });
      expect(verdict).toMatchObject({ status: 'passed', findings: [], files_checked: 4 });
    },
  },
  {
    title: 'the import of a found repository',
    events: ['RepositoryImported', 'RestorePointImported', 'ChainStarted', 'ChainExtended'],
    inEveryRun: ['before:ChainStarted'],
    ask: async (key, target) => {
      await foundRepository(target);
      await asked('POST', '/repositories/import', importRequest(target), key);
    },
    truth: async (key, target, failpoint) => {
      const request = importRequest(target);
      if (failpoint === 'before:ChainStarted') {
        // Half imported, it is not passed for want of anything to verify.
        const [first = ''] = (await foundPoints(target)).backups;
        expect(await client.problem('POST', `/backups/${first}/verify`)).toMatchObject({ status: 409, code: 'restore_point_not_in_chain' });
      }
      type Import = { repository_id: string; imported: string[]; already_known: number; skipped: unknown[] };
      const done = await ok<Import>('POST', '/repositories/import', request, key);
      expect([done.imported.length + done.already_known, done.skipped]).toEqual([2, []]);
      // Asked once more, there is nothing left to do.
      expect(await ok('POST', '/repositories/import', request)).toMatchObject({ imported: [], already_known: 2, skipped: [] });
      const { vm, backups } = await foundPoints(target);
      const chain = await until('the chain to be whole', async () => {
        const { status, body } = await system.api<{ backups: BackupResponse[]; damaged: unknown[] }>('GET', `/backups/chain?vm_name=${vm}`);
        return status === 200 && body.backups.length === 2 ? body : null;
      });
      expect([chain.backups.map(({ backup_id }) => backup_id), chain.damaged]).toEqual([backups, []]);
    },
  },
  {
    title: 'a verification that finds damage',
    events: ['VerificationRequested', 'RestorePointDamaged', 'VerificationFailed'],
    inEveryRun: [],
    ask: async (key, target) => {
      await foundRepository(target);
      await ok('POST', '/repositories/import', importRequest(target));
      const { backups, folders: places } = await foundPoints(target);
      const file = join(target, places[0] ?? '', 'disk-1.qcow2');
      await chmod(file, 0o644);
      await truncate(file, 1000);
      await asked('POST', `/backups/${backups[1] ?? ''}/verify`, undefined, key);
    },
    truth: async (key, target) => {
      const { vm, backups } = await foundPoints(target);
      const [first = '', second = ''] = backups;
      await ok('POST', `/backups/${second}/verify`, undefined, key);
      const verdicts = await until('the verdict', async () => {
        const { verifications } = await ok<{ verifications: VerificationResponse[] }>('GET', `/backups/${second}/verifications`);
        return verifications.every(({ status }) => status !== 'running') ? verifications : null;
      });
      expect(verdicts).toMatchObject([{ status: 'failed', findings: [{ code: 'file_truncated', backup_id: first }] }]);
      const { damaged } = await ok<{ damaged: { backup_id: string }[] }>('GET', `/backups/chain?vm_name=${vm}`);
      expect(damaged.map(({ backup_id }) => backup_id)).toEqual(backups);
    },
  },
];

function hubSettings(): Readonly<Record<string, string>> {
  return { PATH: gates.path, SENDENSE_FAILPOINT: `file:${failpointFile()}` };
}

function failpointFile(): string {
  return join(system.directory, 'failpoint');
}

async function hubIsGone(): Promise<boolean> {
  return fetch(`${system.url()}/api/v1/health/live`).then(
    () => false,
    () => true,
  );
}

/** A copy of the repository as another hub would have left it: with ids of its own. */
async function foundRepository(target: string): Promise<void> {
  await rm(target, { recursive: true, force: true });
  await cp(system.repositoryPath, target, { recursive: true, preserveTimestamps: true });
  const names = await readdir(target, { recursive: true });
  const documents = names.filter((name) => name.endsWith('.json')).map((name) => join(target, name));
  const known = new Map<string, string>();
  for (const document of documents) {
    const text = await readFile(document, 'utf8');
    await chmod(document, 0o644);
    const renamed = text
      .replaceAll(/"(repository_id|backup_id|chain_id|vm_id)": ?"([^"]+)"/g, (_, member: string, id: string) => {
        known.set(id, known.get(id) ?? randomUUID());
        return `"${member}":"${known.get(id) ?? ''}"`;
      })
      .replaceAll('"pgtest1"', `"${vmOf(target)}"`)
      // Format 1 has no signature that the changes would make invalid.
      .replace('"format_version": 2', '"format_version": 1');
    await writeFile(document, renamed);
    await chmod(document, 0o444);
  }
}

function vmOf(target: string): string {
  return `found-${target.split('-').at(-1) ?? ''}`;
}

async function foundPoints(target: string): Promise<{ readonly vm: string; readonly backups: readonly string[]; readonly folders: readonly string[] }> {
  const names = (await readdir(target, { recursive: true })).filter((name) => name.endsWith('manifest.json'));
  type Point = { backup_id: string; started_at: string };
  const points = await Promise.all(
    names.map(async (name) => ({ ...(JSON.parse(await readFile(join(target, name), 'utf8')) as Point), folder: dirname(name) })),
  );
  points.sort((one, other) => one.started_at.localeCompare(other.started_at));
  return { vm: vmOf(target), backups: points.map(({ backup_id }) => backup_id), folders: points.map(({ folder }) => folder) };
}

async function requireNothingLeft(): Promise<void> {
  const remains = async (): Promise<readonly string[]> => [
    ...(await system.mountRemains()),
    ...(await system.toolProcesses()),
    ...(await system.runRemains()),
    ...(await client.ports('allocated')).map(({ port }) => `port ${port}`),
  ];
  await until('nothing to be left', async () => (await remains()).length === 0).catch(() => undefined);
  expect(await remains()).toEqual([]);
  expect(await foreign.missing()).toEqual([]);
  expect(await filesBelow(system.repositoryPath)).toEqual(sealed);
}

function failpointsOf({ events, inEveryRun }: Story): readonly string[] {
  const all = events.flatMap((event) => [`before:${event}`, `after:${event}`]);
  return IS_LONG ? all : all.filter((failpoint) => inEveryRun.includes(failpoint));
}

describe.each(STORIES.filter((story) => failpointsOf(story).length > 0).map((story) => ({ title: story.title, story })))(
  'a hub killed during $title',
  ({ story }) => {
    it.each(failpointsOf(story))('%s, comes to the truth when it starts again, and leaves nothing but that', async (failpoint) => {
      await gates.openAll();
      // After a test that failed.
      if (await hubIsGone()) {
        await system.kill('SIGKILL');
        await system.start(hubSettings());
      }
      await writeFile(`${failpointFile()}.new`, `${failpoint}:1`);
      await rename(`${failpointFile()}.new`, failpointFile());
      const target = join(system.directory, `target-${folders++}`);
      await mkdir(target);
      const key = randomUUID();
      await story.ask(key, target);
      await system.ended();
      await rm(failpointFile());
      await system.start(hubSettings());
      await story.truth(key, target, failpoint);
      await requireNothingLeft();
    });
  },
);
