import { execFile } from 'node:child_process';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { RestoreJobResponse } from '../../src/hub/restore/restore-jobs/model/restore-job.response.js';
import type { VerificationResponse } from '../../src/hub/backup/verifications/model/verification.response.js';
import { BackupClient } from '../support/backup-client.js';
import { HubSystem, until } from '../support/hub-system.js';
import { KillAtCall, type KillMoment } from '../support/kill-at-call.js';
import { LibvirtHost } from '../support/libvirt-host.js';
import { LiveGuest } from '../support/live-guest.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireLibvirt } from '../support/require-tools.js';
import { ToolGates } from '../support/tool-gates.js';

jest.setTimeout(570_000);
const run = promisify(execFile);
const { describe, it, skipped } = requireLibvirt('qemu-nbd', 'nbdcopy', 'nbdinfo', 'nbdkit');
const PATIENCE_MS = 120_000;

let database: TestDatabase;
let host: LibvirtHost;
let system: HubSystem;
let gates: ToolGates;
let killer: KillAtCall;
let guest: LiveGuest | null;
let backupId: string;
let storage: string;
/** Names the append at which the hub kills itself; absent in between. */
let failpointFile: string;
let names = 0;

beforeAll(async () => {
  if (skipped !== null) return;
  [database, host] = await Promise.all([createTestDatabase({ migrated: false }), LibvirtHost.create()]);
  storage = join(host.directory, 'storage');
  await mkdir(storage);
  system = await HubSystem.create({
    databaseUrl: database.databaseUrl,
    env: { SENDENSE_LOCAL_NODE_LIBVIRT_URI: host.uri, SENDENSE_LOCAL_NODE_VM_STORAGE_ROOTS: storage },
  });
  failpointFile = join(system.directory, 'failpoint');
  gates = await ToolGates.create(join(system.directory, 'gates'));
  killer = await KillAtCall.create(join(system.directory, 'steps'), gates.path);
  await restart();
  guest = await LiveGuest.create(host, { name: 'original', disks: [{ target: 'vda', mib: 16, dataMib: 4 }], script: 'echo up and running' });
  if (guest === null) return;
  const client = new BackupClient(system);
  await client.registerDomain('original', (await host.virsh('domuuid', 'original')).trim());
  backupId = (await client.backUp('original', await client.createRepository('main', system.repositoryPath), 'full')).backup_id;
});

afterAll(async () => {
  if (skipped !== null) return;
  await system.destroy();
  await host.destroy();
  await database.drop();
});

async function restart(): Promise<void> {
  await system.start({ PATH: `${killer.path}:${gates.path}`, SENDENSE_FAILPOINT: `file:${failpointFile}` });
}

/** Has the hub kill itself at that event, to which the deed leads, and starts it again. */
async function withHubKilled(failpoint: string, deed: () => Promise<void>): Promise<void> {
  await writeFile(failpointFile, failpoint);
  await deed();
  await system.ended(PATIENCE_MS);
  await rm(failpointFile);
  await restart();
}

async function killNode(): Promise<void> {
  process.kill(await system.nodePid(), 'SIGKILL');
}

/** The answer of a hub that is killed meanwhile may never come. */
async function ask(path: string, body: object): Promise<void> {
  await until('the hub to take it', async () => {
    const answer = await system.api('POST', path, body).catch(() => null);
    return answer === null || answer.status < 500;
  });
}

async function jobOf(name: string): Promise<RestoreJobResponse> {
  return until(
    `the restore of ${name} to be through`,
    async () => {
      const { body } = await system.api<{ jobs: RestoreJobResponse[] }>('GET', '/restore/jobs?limit=1000');
      return body.jobs.find(({ vm, cleaned_up }) => vm?.name === name && cleaned_up);
    },
    PATIENCE_MS,
  );
}

/** Nothing of any restore or check but the VMs that have come of it. */
async function requireTidy(): Promise<void> {
  const { body } = await system.api<{ jobs: RestoreJobResponse[] }>('GET', '/restore/jobs?limit=1000');
  const finished = body.jobs.filter(({ status }) => status === 'completed');
  expect([...(await host.domains())].sort()).toEqual(['original', ...finished.map(({ vm }) => vm?.name ?? '')].sort());
  expect((await readdir(storage)).map((name) => join(storage, name)).sort()).toEqual(finished.flatMap(({ files }) => files).sort());
  const node = join(system.dataDirectory, 'local-node');
  for (const folder of ['vm-restores', 'run/vm-restores', 'boot-checks', 'run/boot-checks', 'run/s']) {
    expect({ folder, left: await readdir(join(node, folder)).catch(() => []) }).toEqual({ folder, left: [] });
  }
  expect(await readdir(join(system.dataDirectory, 'run/restore-exports')).catch(() => [])).toEqual([]);
  const { exports } = (await system.api<{ exports: { cleaned_up: boolean; status: string }[] }>('GET', '/restore/exports?limit=1000')).body;
  expect(exports.filter(({ status }) => status === 'running' || status === 'starting')).toEqual([]);
}

/** Kills the node at a step of what it is asked for meanwhile. A new hub waits little before it starts the node anew. */
async function withNodeKilled(step: { readonly call: number; readonly moment: KillMoment; readonly words: string }, act: () => Promise<void>): Promise<void> {
  await system.kill('SIGTERM');
  await restart();
  await killer.arm(await system.nodePid(), step.call, step.moment, step.words);
  try {
    await act();
    expect((await killer.disarm()).killed).toBe(true);
  } catch (error) {
    await killer.disarm();
    throw new Error(`the node was killed ${step.moment} "${step.words}"`, { cause: error });
  }
}

async function requireRestored(name: string): Promise<void> {
  expect(await jobOf(name)).toMatchObject({ status: 'completed', error: null });
  await run('qemu-img', ['compare', '-f', 'qcow2', '-F', 'qcow2', guest?.path('vda') ?? '', join(storage, `${name}-disk0.qcow2`)]);
  await requireTidy();
}

describe('a VM restore', () => {
  it.each([
    'after:VmRestoreSentToNode:1',
    'before:VmRestoreDiskPublished:1',
    'after:VmRestoreCompleted:1',
    'after:VmRestoreRequested:1',
    'before:VmRestoreCompleted:1',
    'before:VmRestoreCleanedUp:1',
  ])('whose hub is killed %s is brought to its end by the next, and leaves nothing else', async (failpoint) => {
    if (guest === null) return;
    const name = `restored-${names++}`;
    await withHubKilled(failpoint, () => ask('/restore/vms', { backup_id: backupId, name, storage_path: storage }));
    await requireRestored(name);
  });

  it('whose node is killed while it copies is brought to its end by the next', async () => {
    if (guest === null) return;
    const name = `restored-${names++}`;
    const gate = await gates.hold('qemu-img', 'convert');
    await ask('/restore/vms', { backup_id: backupId, name, storage_path: storage });
    await gate.reached();
    await killNode();
    await gate.open();
    await requireRestored(name);
  });

  it.each(['list --all --uuid --name', '--size', 'convert', 'compare', 'metadata', 'define'])(
    'whose node is killed at the step of "%s" is brought to its end by the next',
    async (words) => {
      if (guest === null) return;
      for (const moment of ['before', 'during', 'after'] as const) {
        const name = `restored-${names++}`;
        await withNodeKilled({ call: 1, moment, words }, async () => {
          await ask('/restore/vms', { backup_id: backupId, name, storage_path: storage });
          await requireRestored(name);
        });
      }
    },
  );

  it('that is cancelled while the node copies leaves neither file nor domain, also when the node is killed then', async () => {
    if (guest === null) return;
    const name = `restored-${names++}`;
    const gate = await gates.hold('qemu-img', 'convert');
    const { body } = await system.api<RestoreJobResponse>('POST', '/restore/vms', { backup_id: backupId, name, storage_path: storage });
    await gate.reached();
    expect((await system.api('POST', `/restore/jobs/${body.job_id}/cancel`)).status).toBe(202);
    await killNode();
    await gate.open();
    expect(await jobOf(name)).toMatchObject({ status: 'cancelled' });
    await requireTidy();
  });
});

describe('a boot check', () => {
  const WANTED = { boot: true, boot_check: { console_text: 'up and running', timeout_seconds: 120 } };

  async function verdicts(): Promise<number> {
    return (await system.api<{ verifications: VerificationResponse[] }>('GET', `/backups/${backupId}/verifications`)).body.verifications.length;
  }

  async function verdict(known: number): Promise<VerificationResponse> {
    const found = await until(
      'the verdict',
      async () => {
        const { verifications } = (await system.api<{ verifications: VerificationResponse[] }>('GET', `/backups/${backupId}/verifications`)).body;
        return verifications.length > known && verifications.every(({ status }) => status !== 'running') && verifications[0];
      },
      PATIENCE_MS,
    );
    await until('the exports to be gone', async () => {
      await requireTidy();
      return true;
    });
    return found;
  }

  it.each(['before:BootChecked:1', 'after:BootCheckStarted:1', 'after:BootChecked:1'])(
    'whose hub is killed %s comes to its verdict, and leaves nothing',
    async (failpoint) => {
      if (guest === null) return;
      const known = await verdicts();
      await withHubKilled(failpoint, () => ask(`/backups/${backupId}/verify`, WANTED));
      expect(await verdict(known)).toMatchObject({ status: 'passed', boot: { status: 'booted', attempt: 1 } });
    },
  );

  it.each(['--size', 'create --paused', 'resume', 'domstate', 'screenshot', 'destroy'])(
    'whose node is killed at the step of "%s" is made once more, and leaves nothing',
    async (words) => {
      if (guest === null) return;
      for (const moment of ['before', 'after'] as const) {
        const known = await verdicts();
        await withNodeKilled({ call: 1, moment, words }, async () => {
          await ask(`/backups/${backupId}/verify`, WANTED);
          expect(await verdict(known)).toMatchObject({ status: 'passed', boot: { status: 'booted' } });
        });
      }
    },
  );

  it('whose node is killed while the guest boots is made once more', async () => {
    if (guest === null) return;
    const known = await verdicts();
    await ask(`/backups/${backupId}/verify`, WANTED);
    await until('the guest to run', async () => (await host.domains()).some((name) => name.startsWith('sendense-boot-check-')));
    await killNode();
    expect(await verdict(known)).toMatchObject({ status: 'passed', boot: { status: 'booted', attempt: 2 } });
  });
});
