import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import { BareDomain, requireInstant } from '../support/bare-domain.js';
import { until } from '../support/hub-system.js';
import { LibvirtSystem } from '../support/libvirt-system.js';
import { requireLibvirt } from '../support/require-tools.js';

jest.setTimeout(300_000);
const { describe, it } = requireLibvirt('qemu-nbd', 'nbdcopy', 'nbdkit', 'nbdinfo');

/** Bytes a second and disk, with 4 MiB to copy of each: long enough for anything to happen meanwhile. */
const SLOW = 128 * 1024;
const NAME = 'interrupted';

let system: LibvirtSystem;
let domain: BareDomain;

beforeAll(async () => {
  system = await LibvirtSystem.create();
  domain = await BareDomain.create(system.host, NAME, '00000000-0000-4000-8000-000000000001', [
    { target: 'vda', mib: 16 },
    { target: 'vdb', mib: 16 },
  ]);
  await system.client.registerDomain(NAME, domain.uuid);
  await domain.start();
  await change();
  await system.backUp(NAME, 'full');
});

afterAll(async () => {
  await system.destroy();
});

beforeEach(async () => {
  if (!(await system.host.isActive(NAME))) await domain.start();
  await change();
});

async function change(): Promise<void> {
  await domain.write('vda', 2, 4);
  await domain.write('vdb', 8, 4);
}

/** A backup whose disks are all being copied, slowly; and what they held at its instant. */
async function inMidTransfer(type: 'full' | 'incremental'): Promise<{ readonly backupId: string; readonly instant: ReadonlyMap<string, string> }> {
  const instant = await domain.instant();
  await system.copies.limit(SLOW);
  const { backup_id } = await system.client.started(NAME, system.repositoryId, type);
  await until('both disks to be copied', async () => (await system.hub.toolProcesses()).filter((name) => name.startsWith('nbdcopy')).length === 2);
  return { backupId: backup_id, instant };
}

async function ends(backupId: string): Promise<BackupResponse> {
  await system.copies.limit(null);
  return system.client.atRest(backupId);
}

/** Whatever happened before: nothing is left of it, and the next run is right, with the disks as they are now. */
async function requireNextRunRight(type: 'incremental' | 'auto' = 'incremental'): Promise<BackupResponse> {
  await system.copies.limit(null);
  await system.becomesQuietAt(domain);
  if (!(await system.host.isActive(NAME))) await domain.start();
  await domain.write('vda', 1);
  const instant = await domain.instant();
  const backup = await system.backUp(NAME, type);
  await requireInstant(backup.disk_results, instant);
  await system.becomesQuietAt(domain);
  return backup;
}

async function killNode(): Promise<void> {
  const pid = await system.hub.nodePid();
  process.kill(pid, 'SIGKILL');
  await until('the node to be gone', async () => !(await system.hub.leftoverPids()).includes(pid));
}

describe('a backup of a running domain', () => {
  it.each(['full', 'incremental'] as const)('goes on when the node is killed in mid-transfer of a %s', async (type) => {
    const { backupId, instant } = await inMidTransfer(type);
    await killNode();
    // The guest goes on writing; the instant stays.
    await domain.write('vda', 3);
    const backup = await ends(backupId);
    expect([backup.status, backup.error]).toEqual(['completed', null]);
    await requireInstant(backup.disk_results, instant);
    await requireNextRunRight();
  });

  it('goes on when libvirtd is restarted in mid-transfer', async () => {
    const { backupId, instant } = await inMidTransfer('incremental');
    await system.host.restart();
    await domain.write('vdb', 9);
    const backup = await ends(backupId);
    expect([backup.status, backup.error]).toEqual(['completed', null]);
    await requireInstant(backup.disk_results, instant);
    await requireNextRunRight();
  });

  it('goes on when libvirtd is killed in mid-transfer and comes back after the copies have ended', async () => {
    const { backupId } = await inMidTransfer('incremental');
    await system.host.stop('SIGKILL');
    await system.copies.limit(null);
    await until('the copies to end', async () => (await system.hub.toolProcesses()).every((name) => !name.startsWith('nbdcopy')));
    await system.host.start();
    const backup = await ends(backupId);
    expect([backup.status, backup.error]).toEqual(['completed', null]);
    await requireNextRunRight();
  });

  it('fails with the cause when the guest is shut down in mid-transfer, and nothing is left', async () => {
    const { backupId } = await inMidTransfer('incremental');
    await domain.powerOff();
    const backup = await ends(backupId);
    expect([backup.status, backup.error?.stage]).toEqual(['failed', 'transfer']);
    expect(backup.error?.code).toMatch(/^(snapshot_lost|transfer_failed)$/);
    // While it is off.
    await system.becomesQuietAt(domain);
    await requireNextRunRight();
  });

  it('fails with the cause when qemu crashes in mid-transfer, and the next is a full with the reason', async () => {
    const { backupId } = await inMidTransfer('incremental');
    await system.host.crash(NAME);
    const backup = await ends(backupId);
    expect([backup.status, backup.error?.stage]).toEqual(['failed', 'transfer']);
    await domain.rereadPlain();
    const next = await requireNextRunRight('auto');
    expect(next.backup_type).toBe('full');
    expect(next.full_reason).toMatch(/^change_id_(lost|broken)$/);
  });

  it('fails with the cause when somebody ends its job, and nothing is left', async () => {
    const { backupId } = await inMidTransfer('incremental');
    await system.host.virsh('domjobabort', NAME);
    const backup = await ends(backupId);
    expect([backup.status, backup.error?.stage]).toEqual(['failed', 'transfer']);
    await requireNextRunRight();
  });

  it('leaves nothing when it is cancelled in mid-transfer', async () => {
    const { backupId } = await inMidTransfer('incremental');
    expect((await system.hub.api('POST', `/backups/${backupId}/cancel`)).status).toBe(202);
    await system.client.atRest(backupId);
    await requireNextRunRight();
  });

  it('leaves nothing when it is cancelled while the node is dead', async () => {
    const { backupId } = await inMidTransfer('full');
    await killNode();
    expect((await system.hub.api('POST', `/backups/${backupId}/cancel`)).status).toBe(202);
    await requireNextRunRight();
  });

  it('is right when the node is killed while it takes its snapshot', async () => {
    await system.copies.limit(null);
    const jobs = join(system.hub.dataDirectory, 'local-node/jobs');
    const instant = await domain.instant();
    const asked = system.client.started(NAME, system.repositoryId, 'incremental');
    await until('the node to take the job on', async () => existsSync(jobs) && (await readdir(jobs)).length > 0);
    await killNode();
    const backup = await ends((await asked).backup_id);
    expect([backup.status, backup.error]).toEqual(['completed', null]);
    await requireInstant(backup.disk_results, instant);
    await requireNextRunRight();
  });

  it('is right when hub and node are killed before they could settle', async () => {
    await system.copies.limit(null);
    await system.hub.kill('SIGKILL');
    await system.hub.start({ PATH: system.copies.path, SENDENSE_FAILPOINT: 'after:BackupCompleted:1' });
    await system.client.start(NAME, system.repositoryId, 'incremental').catch(() => undefined);
    await system.hub.ended();
    await killNode();
    await system.hub.start({ PATH: system.copies.path });
    await system.client.atRest((await system.client.newest(NAME)).backup_id);
    expect((await system.client.newest(NAME)).status).toBe('completed');
    await requireNextRunRight();
  });
});
