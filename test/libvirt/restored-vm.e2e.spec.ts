import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { RestoreJobResponse } from '../../src/hub/restore/restore-jobs/model/restore-job.response.js';
import type { VmRestorePreviewResponse } from '../../src/hub/restore/restore-jobs/start-vm-restore/start-vm-restore.dto.js';
import type { VerificationResponse } from '../../src/hub/backup/verifications/model/verification.response.js';
import { BackupClient, type Problem } from '../support/backup-client.js';
import { HubSystem, until } from '../support/hub-system.js';
import { LibvirtHost } from '../support/libvirt-host.js';
import { LiveGuest } from '../support/live-guest.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { inLongProof } from '../support/long-proof.js';
import { requireLibvirt } from '../support/require-tools.js';

jest.setTimeout(300_000);
const run = promisify(execFile);
const { describe, it, skipped } = requireLibvirt('qemu-nbd', 'nbdcopy', 'nbdinfo', 'nbdkit', 'mkfs.ext4', 'qemu-ga');
const PATIENCE_MS = 120_000;

/** Shows what is on both disks, writes to the first, and shows that too. */
const SCRIPT = `mount -t ext4 /dev/vda /mnt
cat /mnt/motto
head -c 20 /dev/vdb; echo
echo written in the guest >/mnt/new
sync
cat /mnt/new
echo shown everything
`;

let database: TestDatabase;
let host: LibvirtHost;
let system: HubSystem;
let client: BackupClient;
let repository: string;
let backupId: string;
let storage: string;
let bootable = false;
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
  await system.start();
  client = new BackupClient(system);
  const guest = await LiveGuest.create(host, {
    name: 'original',
    script: SCRIPT,
    disks: [
      { target: 'vda', mib: 32 },
      { target: 'vdb', mib: 8 },
    ],
  });
  if (guest === null) return;
  bootable = true;
  const content = join(host.directory, 'content');
  await mkdir(content);
  await writeFile(join(content, 'motto'), 'this comes from the backup\n');
  const raw = join(host.directory, 'vda.raw');
  await run('mkfs.ext4', ['-q', '-d', content, raw, '32M']);
  await writeFile(join(host.directory, 'vdb.raw'), `the second disk as well${'\0'.repeat(8 * 1024 * 1024 - 23)}`);
  await run('qemu-img', ['convert', '-O', 'qcow2', raw, guest.path('vda')]);
  await run('qemu-img', ['convert', '-O', 'qcow2', join(host.directory, 'vdb.raw'), guest.path('vdb')]);
  await client.registerDomain('original', (await host.virsh('domuuid', 'original')).trim());
  repository = await client.createRepository('main', system.repositoryPath);
  backupId = (await client.backUp('original', repository, 'full')).backup_id;
});

afterAll(async () => {
  if (skipped !== null) return;
  await system.destroy();
  await host.destroy();
  await database.drop();
});

function newName(): string {
  return `restored ${names++}`;
}

async function request(name: string, more: object): Promise<RestoreJobResponse> {
  const { status, body } = await system.api<RestoreJobResponse>('POST', '/restore/vms', { backup_id: backupId, name, ...more });
  expect({ status, body }).toMatchObject({ status: 202 });
  return body;
}

async function ended(jobId: string): Promise<RestoreJobResponse> {
  return until(
    `restore job ${jobId} to end`,
    async () => {
      const { body } = await system.api<RestoreJobResponse>('GET', `/restore/jobs/${jobId}`);
      if (body.status === 'running') return null;
      return body.vm?.mode === 'instant' && body.status === 'completed' ? body : body.cleaned_up && body;
    },
    PATIENCE_MS,
  );
}

/** What the guest shows on its serial console, which libvirt puts on a terminal, until `text`. */
async function consoleUntil(name: string, text: string): Promise<string> {
  const terminal = (await host.virsh('ttyconsole', name)).trim();
  const log = join(host.directory, `${name}.console`);
  const reader = run('timeout', ['120', 'sh', '-c', 'exec cat "$0" >"$1"', terminal, log]).catch(() => undefined);
  try {
    return await until(
      `"${text}" on the console of ${name}`,
      async () => {
        const seen = await readFile(log, 'utf8').catch(() => '');
        return seen.includes(text) ? seen : null;
      },
      PATIENCE_MS,
    );
  } finally {
    await host.virsh('destroy', name);
    await reader;
  }
}

async function exportsInUse(): Promise<number> {
  const { body } = await system.api<{ exports: { cleaned_up: boolean; status: string }[] }>('GET', '/restore/exports?limit=1000');
  return body.exports.filter(({ status }) => status === 'running' || status === 'starting').length;
}

describe('a restore point as a VM', () => {
  it('is defined with copies of its disks, boots, and shows their content; nothing else is left', async () => {
    if (!bootable) return;
    const name = newName();
    const job = await ended((await request(name, { storage_path: storage, start: true })).job_id);
    expect(job).toMatchObject({ status: 'completed', kind: 'vm', error: null, sources_verified: true, progress_percent: 100 });
    expect(job.vm).toMatchObject({
      mode: 'copy',
      started: true,
      start_error: null,
      changes: expect.arrayContaining([expect.objectContaining({ code: 'host_path_removed' })]),
    });
    expect(job.files).toEqual([join(storage, 'restored_0-disk0.qcow2'), join(storage, 'restored_0-disk1.qcow2')]);
    const shown = await consoleUntil(name, 'shown everything');
    for (const text of ['this comes from the backup', 'the second disk as w', 'written in the guest']) expect(shown).toContain(text);
    const uuid = (await host.virsh('domuuid', name)).trim();
    expect(uuid).toBe(job.vm?.uuid);
    expect(uuid).not.toBe((await host.virsh('domuuid', 'original')).trim());
    expect((await readdir(storage)).sort()).toEqual(['restored_0-disk0.qcow2', 'restored_0-disk1.qcow2']);
    expect(await exportsInUse()).toBe(0);
  });

  it('lives at once on exports of the hub, and goes with what was written to it', async () => {
    if (!bootable) return;
    const name = newName();
    const job = await ended((await request(name, { instant: true, start: true })).job_id);
    expect(job).toMatchObject({ status: 'completed', files: [], cleaned_up: false, vm: { mode: 'instant', started: true, removed: false } });
    const shown = await consoleUntil(name, 'shown everything');
    expect(shown).toContain('this comes from the backup');
    expect(await exportsInUse()).toBe(2);
    const held = (await system.api<{ exports: { export_id: string; status: string }[] }>('GET', '/restore/exports?status=running')).body.exports[0];
    expect((await client.problem('DELETE', `/restore/exports/${held?.export_id ?? ''}`)).code).toBe('restore_export_held');
    expect((await client.problem('DELETE', `/backups/${backupId}`)).status).toBe(409);

    expect((await system.api('DELETE', `/restore/vms/${job.job_id}`)).status).toBe(204);
    expect(await host.domains()).not.toContain(name);
    expect(await exportsInUse()).toBe(0);
    const removed = await until('the read model to know it', async () => {
      const { body } = await system.api<RestoreJobResponse>('GET', `/restore/jobs/${job.job_id}`);
      return body.cleaned_up && body;
    });
    expect(removed.vm).toMatchObject({ removed: true });
  });

  it('never replaces a domain or a file, and leaves nothing behind when it fails', async () => {
    if (!bootable) return;
    const before = { domains: await host.domains(), files: await readdir(storage) };
    const sameName = await ended((await request('original', { storage_path: storage })).job_id);
    expect(sameName).toMatchObject({ status: 'failed', error: { code: 'domain_exists' } });
    const sameUuid = await ended((await request(newName(), { storage_path: storage, keep_identity: true })).job_id);
    expect(sameUuid).toMatchObject({ status: 'failed', error: { code: 'domain_exists' } });
    const name = newName();
    await writeFile(join(storage, `${name.replace(' ', '_')}-disk1.qcow2`), 'precious');
    const sameFile = await ended((await request(name, { storage_path: storage })).job_id);
    expect(sameFile).toMatchObject({ status: 'failed', error: { code: 'target_exists' } });
    expect(await readFile(join(storage, `${name.replace(' ', '_')}-disk1.qcow2`), 'utf8')).toBe('precious');
    const elsewhere = await ended((await request(newName(), { storage_path: host.disks })).job_id);
    expect(elsewhere).toMatchObject({ status: 'failed', error: { code: 'storage_path_refused' } });
    const nowhere = await ended((await request(newName(), { storage_path: join(storage, 'none') })).job_id);
    expect(nowhere).toMatchObject({ status: 'failed', error: { code: 'storage_path_missing' } });
    expect(await host.domains()).toEqual(before.domains);
    expect((await readdir(storage)).length).toBe(before.files.length + 1);
    expect(await exportsInUse()).toBe(0);
  });

  it('stands, with the reason, where it cannot be started', async () => {
    if (!bootable) return;
    const name = newName();
    await rename(join(host.directory, 'lib/boot/original-initrd'), join(host.directory, 'lib/boot/away'));
    const job = await ended((await request(name, { storage_path: storage, start: true })).job_id);
    await rename(join(host.directory, 'lib/boot/away'), join(host.directory, 'lib/boot/original-initrd'));
    expect(job).toMatchObject({ status: 'completed', vm: { started: false, start_error: { code: 'domain_refused' } } });
    expect((await host.virsh('domstate', name)).trim()).toBe('shut off');
  });

  it('is refused at once where that can be known', async () => {
    const refusals: readonly (readonly [object, number, string])[] = [
      [{ backup_id: randomUUID(), name: 'x', instant: true }, 404, 'backup_not_found'],
      [{ backup_id: backupId, node_id: 'unheard-of', name: 'x', instant: true }, 404, 'node_not_found'],
      [{ backup_id: backupId, name: 'x' }, 400, 'storage_path_or_instant'],
      [{ backup_id: backupId, name: 'x', instant: true, storage_path: storage }, 400, 'storage_path_or_instant'],
      [{ backup_id: backupId, name: 'a/b', instant: true }, 400, 'validation_failed'],
      [{ backup_id: backupId, name: '--help', instant: true }, 400, 'validation_failed'],
      [{ backup_id: backupId, name: 'x', storage_path: 'relative' }, 400, 'validation_failed'],
      [{ backup_id: backupId, name: 'x', instant: true, network: 'all' }, 400, 'validation_failed'],
    ];
    for (const [body, status, code] of refusals) {
      const answer = await system.api<Problem>('POST', '/restore/vms', body);
      expect({ body, status: answer.status, code: answer.body.code }).toEqual({ body, status, code });
    }
    expect((await client.problem('DELETE', `/restore/vms/${randomUUID()}`)).code).toBe('restore_job_not_found');
  });

  it('shows what would become of the definition, and makes nothing', async () => {
    const { status, body } = await system.api<VmRestorePreviewResponse>('POST', '/restore/vms/preview', { backup_id: backupId, name: 'seen', instant: true });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      node_id: body.origin_node_id,
      imported: false,
      acceptance_needed: false,
      definition: expect.stringContaining('<name>seen</name>'),
    });
    expect(body.changes).toContainEqual(expect.objectContaining({ code: 'emulator_removed' }));
  });

  it('uses no definition that is not the one that was recorded', async () => {
    const { body: backup } = await system.api<BackupResponse>('GET', `/backups/${backupId}`);
    const folder = join(system.repositoryPath, backup.folder ?? '');
    const manifest = join(folder, 'manifest.json');
    const recorded = await readFile(manifest);
    await chmod(manifest, 0o644);
    try {
      await writeFile(manifest, recorded.toString('utf8').replace('</os>', '<kernel>/tmp/evil</kernel></os>'));
      for (const route of ['/restore/vms', '/restore/vms/preview']) {
        const request = { backup_id: backupId, name: 'changed', instant: true, start: true };
        expect(await client.problem('POST', route, request)).toMatchObject({ status: 409, code: 'manifest_differs' });
      }
      const boot = { boot: true, boot_check: { console_text: 'x' } };
      expect(await client.problem('POST', `/backups/${backupId}/verify`, boot)).toMatchObject({ status: 409, code: 'manifest_differs' });
    } finally {
      await writeFile(manifest, recorded);
      await chmod(manifest, 0o444);
    }
  });

  it('is refused for one that does not know how its VM is defined', async () => {
    const folder = join(system.imageRoot, 'image');
    await mkdir(folder);
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', join(folder, 'disk0.qcow2'), '4M']);
    await client.registerVm('image', folder);
    const image = (await client.backUp('image', repository, 'full')).backup_id;
    const problem = await client.problem('POST', '/restore/vms', { backup_id: image, name: 'x', instant: true });
    expect(problem.code).toBe('definition_missing');
  });
});

describe('a verification that boots the restore point', () => {
  const verified = async (boot_check: object, point = backupId): Promise<VerificationResponse> => {
    const { status, body } = await system.api<VerificationResponse>('POST', `/backups/${point}/verify`, { boot: true, boot_check });
    expect({ status, body }).toMatchObject({ status: 202, body: { boot: { status: 'pending' } } });
    return until(
      'the verdict',
      async () => {
        const { verifications } = (await system.api<{ verifications: VerificationResponse[] }>('GET', `/backups/${point}/verifications`)).body;
        return verifications.find(({ verification_id, status: now }) => verification_id === body.verification_id && now !== 'running');
      },
      PATIENCE_MS,
    );
  };

  const artefact = async (verification: VerificationResponse, name: string): Promise<Buffer> => {
    const path = verification.boot?.artefacts.find((each) => each.name === name)?.path ?? `/api/v1/${name} is missing`;
    const token = (await readFile(join(system.dataDirectory, 'api.token'), 'utf8')).trim();
    const response = await fetch(new URL(path, system.url()), { headers: { authorization: `Bearer ${token}` } });
    expect(response.status).toBe(200);
    return Buffer.from(await response.arrayBuffer());
  };

  it('passes with the console and a picture of a guest that gives a sign of life, and leaves nothing else', async () => {
    if (!bootable) return;
    const before = await host.domains();
    const verification = await verified({ console_text: 'shown everything', timeout_seconds: 120 });
    expect(verification).toMatchObject({ status: 'passed', error: null, findings: [], files_checked: 2, boot: { status: 'booted', sign: 'console_text' } });
    const shown = (await artefact(verification, 'console')).toString();
    for (const text of ['this comes from the backup', 'written in the guest', 'shown everything']) expect(shown).toContain(text);
    expect((await artefact(verification, 'screenshot')).subarray(1, 4).toString()).toBe('PNG');
    expect(await host.domains()).toEqual(before);
    expect(await exportsInUse()).toBe(0);
    for (const folder of ['boot-checks', 'run/boot-checks', 'run/s']) {
      expect(await readdir(join(system.dataDirectory, 'local-node', folder)).catch(() => [])).toEqual([]);
    }
  });

  inLongProof(() => {
    it('passes when the guest agent answers, with nothing on the console to go by', async () => {
      const guest = await LiveGuest.create(host, { name: 'agent', disks: [{ target: 'vda', mib: 8 }], agent: true });
      if (guest === null) return;
      const before = await host.domains();
      await client.registerDomain('agent', (await host.virsh('domuuid', 'agent')).trim());
      const { backup_id } = await client.backUp('agent', repository, 'full');
      const verification = await verified({ guest_agent: true, timeout_seconds: 120 }, backup_id);
      expect(verification).toMatchObject({
        status: 'passed',
        error: null,
        boot: { status: 'booted', sign: 'guest_agent', detail: 'The guest agent has answered.', artefacts: [{ name: 'console' }, { name: 'screenshot' }] },
      });
      expect(await host.domains()).toEqual(before);
      expect(await exportsInUse()).toBe(0);
    });
  });

  inLongProof(() => {
    it('fails, without damage, for a guest that gives none, and shows what was seen', async () => {
      if (!bootable) return;
      const before = await host.domains();
      const verification = await verified({ console_text: 'this is never shown', guest_agent: true, timeout_seconds: 12 });
      expect(verification).toMatchObject({
        status: 'failed',
        findings: [],
        boot: { status: 'not_booted', sign: null, detail: expect.stringContaining('within 12 s'), artefacts: [{ name: 'console' }, { name: 'screenshot' }] },
      });
      const { body } = await system.api<{ restore_points: { damage: object | null }[] }>('GET', '/backups/chain?vm_name=original');
      expect(JSON.stringify(body)).not.toContain('parent_altered');
      expect(await host.domains()).toEqual(before);
      expect(await exportsInUse()).toBe(0);
    });
  });

  it('is refused where it cannot be', async () => {
    for (const [body, status, code] of [
      [{ boot: true, boot_check: {} }, 400, 'sign_of_life_missing'],
      [{ boot: true, boot_check: { console_text: 'x', node_id: 'unheard-of' } }, 404, 'node_not_found'],
      [{ boot: true, boot_check: { console_text: 'x', timeout_seconds: 0 } }, 400, 'validation_failed'],
      [{ boot: 'yes' }, 400, 'validation_failed'],
    ] as const) {
      const answer = await system.api<Problem>('POST', `/backups/${backupId}/verify`, body);
      expect({ body, status: answer.status, code: answer.body.code }).toEqual({ body, status, code });
    }
    const missing = `/backups/${backupId}/verifications/${randomUUID()}`;
    expect((await client.problem('GET', `${missing}/console`)).code).toBe('verification_not_found');
    expect((await client.problem('GET', `${missing}/screenshot`)).code).toBe('verification_not_found');
  });
});

describe('a damaged restore point as a VM', () => {
  inLongProof(() => {
    it('is refused, and made of what can be read where that is asked for, saying what is not what was sealed', async () => {
      if (!bootable) return;
      const { backup_id, disk_results } = await client.backUp('original', repository, 'full');
      const file = disk_results[1]?.qcow2_path ?? '';
      await chmod(file, 0o600);
      await run('qemu-io', ['-f', 'qcow2', '-c', 'write -q -P 7 4M 4k', file]);
      const found = await ended((await request(newName(), { backup_id, storage_path: storage })).job_id);
      expect(found).toMatchObject({ status: 'failed', error: { code: 'source_damaged' } });
      const name = newName();
      const job = await ended((await request(name, { backup_id, storage_path: storage, allow_damaged: true })).job_id);
      expect(job).toMatchObject({ status: 'completed', error: null, sources_verified: false, damaged_sources: [{ backup_id }] });
      expect(job.damaged_sources[0]?.file).toBe(file.slice(system.repositoryPath.length + 1));
      const refused = await client.problem('POST', '/restore/vms', { backup_id, name: 'x', storage_path: storage });
      expect(refused).toMatchObject({ status: 409, code: 'restore_point_damaged' });
      expect(await host.domains()).toContain(name);
      expect(await exportsInUse()).toBe(0);
    });
  });
});
