import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import { BackupClient } from '../support/backup-client.js';
import { makeBootKit } from '../support/boot-kit.js';
import { HubSystem, until } from '../support/hub-system.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { keyFileOf } from '../support/published-export.js';
import { requireTools } from '../support/require-tools.js';

jest.setTimeout(180_000);
const run = promisify(execFile);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'nbdcopy', 'nbdinfo', 'nbdkit', 'mkfs.ext4', 'qemu-system-x86_64');

/** Shows a file of the disk, writes to the disk, and shows that too. */
const GUEST = `
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
while [ ! -b /dev/nvme0n1 ]; do /bin/busybox usleep 50000; done
/bin/busybox mount -t ext4 /dev/nvme0n1 /mnt
/bin/busybox cat /mnt/etc/motto
echo written in the guest >/mnt/etc/new
/bin/busybox sync
/bin/busybox cat /mnt/etc/new
/bin/busybox umount /mnt
/bin/busybox reboot -f
`;

let database: TestDatabase;
let system: HubSystem;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  await system.start();
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

describe('a VM', () => {
  it('boots from a restore point, writes to its disk, and changes nothing of the backup', async () => {
    const kit = await makeBootKit(join(system.directory, 'boot kit'), GUEST);
    if (kit === null) return;
    const content = join(system.directory, 'content');
    await mkdir(join(content, 'etc'), { recursive: true });
    await writeFile(join(content, 'etc/motto'), 'this comes from the backup\n');
    const folder = join(system.imageRoot, 'bootable');
    await mkdir(folder);
    const raw = join(system.directory, 'disk.raw');
    await run('mkfs.ext4', ['-q', '-d', content, raw, '32M']);
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, join(folder, 'disk0.qcow2')]);

    const client = new BackupClient(system);
    const repository = await client.createRepository('main', system.repositoryPath);
    await client.registerVm('bootable', folder);
    const backup = await client.backUp('bootable', repository, 'full');
    const { body } = await system.api<{ export_id: string; uri: string }>('POST', '/restore/exports', {
      backup_id: backup.backup_id,
      disk_index: 0,
      mode: 'read_write',
    });

    const keyFile = await keyFileOf(system, body.export_id);
    const socket = join(system.directory, 'export.sock');
    // qemu's -drive knows no keys.
    const proxy = spawn('nbdkit', ['-f', '-U', socket, 'nbd', `uri=${body.uri}`, 'tls=require', `tls-psk=${keyFile}`], { stdio: 'ignore' });
    await until('the proxy', () => Promise.resolve(existsSync(socket)));
    const { stdout } = await run(
      'qemu-system-x86_64',
      [
        ...['-accel', 'tcg', '-m', '256', '-nographic', '-nodefaults', '-serial', 'stdio', '-no-reboot'],
        ...['-kernel', kit.kernel, '-initrd', kit.initrd, '-append', 'console=ttyS0 quiet panic=-1'],
        ...['-drive', `if=none,id=disk,format=raw,file=nbd+unix:///?socket=${socket}`, '-device', 'nvme,drive=disk,serial=backup'],
      ],
      { timeout: 120_000 },
    );
    expect(stdout).toContain('this comes from the backup');
    expect(stdout).toContain('written in the guest');
    proxy.kill();

    expect((await system.api('DELETE', `/restore/exports/${body.export_id}`)).status).toBe(204);
    await run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', raw, backup.disk_results[0]?.qcow2_path ?? '']);
  });
});
