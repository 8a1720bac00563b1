import { execFile } from 'node:child_process';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { RestoreJobResponse } from '../../src/hub/restore/restore-jobs/model/restore-job.response.js';
import { until } from '../support/hub-system.js';
import { LibvirtSystem } from '../support/libvirt-system.js';
import { checksummedLoad, contentOf, type GuestDisk } from '../support/live-guest.js';
import { requireLibvirt } from '../support/require-tools.js';

jest.setTimeout(570_000);
const run = promisify(execFile);
const { describe, it } = requireLibvirt('qemu-nbd', 'nbdcopy', 'nbdkit', 'nbdinfo', 'mkfs.ext4', 'e2fsck', 'debugfs');

const INCREMENTALS = 10;
const DISK: GuestDisk = { target: 'vda', mib: 64, ext4: true };

let system: LibvirtSystem;

beforeAll(async () => {
  system = await LibvirtSystem.create();
});

afterAll(async () => {
  await system.destroy();
});

describe('a guest that writes, deletes and discards files all the time', () => {
  it(`can be restored from the full and each of ${INCREMENTALS} incrementals, with a clean file system and all that it had at that instant`, async () => {
    const guest = await system.addGuest({ name: 'loaded', disks: [DISK], script: checksummedLoad(DISK) });
    if (guest === null) return;
    await guest.tells('written', 3);
    const backups: { readonly backup: BackupResponse; readonly before: number; readonly after: number }[] = [];
    for (let count = 0; count <= INCREMENTALS; count++) {
      const before = await guest.told('written');
      const backup = await system.backUp('loaded', count === 0 ? 'full' : 'incremental');
      backups.push({ backup, before, after: await guest.told('written') });
      await guest.tells('written', 3);
    }
    expect(backups.slice(1).map(({ backup }) => [backup.backup_type, backup.full_reason])).toEqual(backups.slice(1).map(() => ['incremental', null]));
    await system.becomesQuiet(guest);

    for (const { backup, before, after } of backups) {
      const { written, faults } = await contentOf(await restored(backup));
      expect(faults).toEqual([]);
      // All that was there for good when the backup was asked for, and nothing that came after its end; one step may not have been told yet.
      expect(written).toBeGreaterThanOrEqual(before);
      expect(written).toBeLessThanOrEqual(after + 1);
    }
  });
});

/** By the system's own restore of whole disks. @returns a raw file */
async function restored(backup: BackupResponse): Promise<string> {
  const target = join(system.hub.directory, 'restored');
  await rm(target, { recursive: true, force: true });
  await run('mkdir', [target]);
  const { status, body } = await system.hub.api<RestoreJobResponse>('POST', '/restore/disks', {
    backup_id: backup.backup_id,
    target_path: target,
    format: 'raw',
  });
  expect([status, body]).toEqual([202, expect.objectContaining({ status: 'running' })]);
  const job = await until('the restore to end', async () => {
    const found = (await system.hub.api<RestoreJobResponse>('GET', `/restore/jobs/${body.job_id}`)).body;
    return found.status === 'running' ? null : found;
  });
  expect([job.status, job.error]).toEqual(['completed', null]);
  const [file] = (await readdir(target, { recursive: true })).filter((name) => name.endsWith('.raw'));
  return join(target, file ?? '');
}
