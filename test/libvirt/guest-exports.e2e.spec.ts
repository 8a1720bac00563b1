import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { NbdProcessListDto } from '../../src/hub/exports/nbd-exports/list-processes/list-processes.dto.js';
import { writeKeyFile } from '../../src/hub/exports/nbd-servers/export-access.js';
import { type NbdAddress, nbdUri } from '../../src/lib/nbd/nbd-uri.js';
import type { RestoreJobResponse } from '../../src/hub/restore/restore-jobs/model/restore-job.response.js';
import { BackupClient } from '../support/backup-client.js';
import { HubSystem, until } from '../support/hub-system.js';
import { LibvirtHost } from '../support/libvirt-host.js';
import { LiveGuest } from '../support/live-guest.js';
import { IS_LONG } from '../support/long-proof.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireKernel, requireLibvirt } from '../support/require-tools.js';

jest.setTimeout(300_000);
const run = promisify(execFile);
// What its parts do is seen by guest-disks.int.spec.ts, and that guests boot so by restored-vm.e2e.spec.ts.
const { describe, it, skipped } = IS_LONG
  ? requireLibvirt('qemu-nbd', 'nbdcopy', 'nbdinfo', 'nbdkit', 'qemu-io', 'setpriv')
  : requireKernel('left to the long proof');
const PATIENCE_MS = 120_000;

/** Has no rights anywhere, and is not the account of guests either, which is uid 65534. */
const STRANGER = ['setpriv', '--reuid', '65533', '--regid', '65533', '--clear-groups', 'timeout', '20'];
/** Reads and writes its disk for as long as it lives. */
const SCRIPT = `n=0
while :; do
  n=$((n+1))
  printf '%-511d\\n' $n | dd of=/dev/vda bs=512 seek=64 count=1 oflag=direct conv=notrunc,fsync 2>/dev/null || echo write failed
  dd if=/dev/vda bs=512 skip=64 count=1 iflag=direct 2>/dev/null | read seen || echo read failed
  echo alive $n
  usleep 200000
done
`;

let database: TestDatabase;
let host: LibvirtHost;
let system: HubSystem;
let bootable = false;
let backupId: string;

beforeAll(async () => {
  if (skipped !== null) return;
  [database, host] = await Promise.all([createTestDatabase({ migrated: false }), LibvirtHost.create('nobody')]);
  const guests = join(host.directory, 'guests');
  system = await HubSystem.create({
    databaseUrl: database.databaseUrl,
    env: { SENDENSE_LOCAL_NODE_LIBVIRT_URI: host.uri, SENDENSE_LOCAL_NODE_GUEST_SOCKET_DIRECTORY: guests },
  });
  await system.start();
  const client = new BackupClient(system);
  const guest = await LiveGuest.create(host, { name: 'original', script: SCRIPT, disks: [{ target: 'vda', mib: 8 }] });
  if (guest === null) return;
  bootable = true;
  await client.registerDomain('original', (await host.virsh('domuuid', 'original')).trim());
  backupId = (await client.backUp('original', await client.createRepository('main', system.repositoryPath), 'full')).backup_id;
});

afterAll(async () => {
  if (skipped !== null) return;
  await system.destroy();
  await host.destroy();
  await database.drop();
});

async function expectRefused(address: NbdAddress, name: string): Promise<void> {
  const foreign = { ...address, keyFile: join(host.directory, 'stranger', 'keys.psk') };
  const tries = [
    ['nbdinfo', '--list', nbdUri(address, '')],
    ['nbdinfo', '--size', nbdUri(foreign, name)],
    ['qemu-io', '-f', 'raw', '-c', 'read 0 512', nbdUri(address, name)],
    ['qemu-io', '-f', 'raw', '-c', 'write -P 0x66 0 512', nbdUri(address, name)],
  ];
  for (const argv of tries) {
    const [file = '', ...rest] = [...STRANGER, ...argv];
    await expect(run(file, rest)).rejects.toThrow(/Permission denied|TLS|not supported|terminated|Failed/i);
  }
}

async function forwarders(): Promise<readonly string[]> {
  const root = join(system.dataDirectory, 'local-node', 'run', 'guest-disks');
  const guests = await readdir(root).catch(() => []);
  return Promise.all(guests.map((guest) => readFile(join(root, guest, '0', 'process'), 'utf8').catch(() => 'none')));
}

describe('the disk of an instant VM', () => {
  it('is reached by its own qemu alone, outlives the node, and is gone with the VM', async () => {
    if (!bootable) return;
    await mkdir(join(host.directory, 'stranger'));
    const foreignKey = join(host.directory, 'stranger', 'keys.psk');
    await writeKeyFile(foreignKey, 'cd'.repeat(32));
    await chmod(foreignKey, 0o644);

    const { body: asked } = await system.api<RestoreJobResponse>('POST', '/restore/vms', { backup_id: backupId, name: 'instant', instant: true, start: true });
    const job = await until(
      'the instant VM',
      async () => {
        const { body } = await system.api<RestoreJobResponse>('GET', `/restore/jobs/${asked.job_id}`);
        return body.status !== 'running' && body;
      },
      PATIENCE_MS,
    );
    expect(job).toMatchObject({ status: 'completed', error: null, vm: { mode: 'instant', started: true, start_error: null } });

    const log = join(host.directory, 'console');
    const terminal = (await host.virsh('ttyconsole', 'instant')).trim();
    const reader = run('timeout', ['250', 'sh', '-c', 'exec cat "$0" >"$1"', terminal, log]).catch(() => undefined);
    const console = (): Promise<string> => readFile(log, 'utf8').catch(() => '');
    const count = async (): Promise<number> => Number([...(await console()).matchAll(/alive (\d+)/g)].at(-1)?.[1] ?? 0);
    await until('the guest to be alive', async () => (await count()) > 0, PATIENCE_MS);

    const { processes } = (await system.api<NbdProcessListDto>('GET', '/nbd/processes')).body;
    expect(processes).toEqual([expect.objectContaining({ transport: 'tls', shared_limit: 0 })]);
    const { port = 0, export_name: name = '' } = processes[0] ?? {};
    await expectRefused({ host: '127.0.0.1', port }, name);
    const socket = /<host transport='unix' socket='([^']+)'/.exec(await host.virsh('dumpxml', 'instant'))?.[1] ?? '';
    expect(socket).toContain(join(host.directory, 'guests'));
    await expectRefused({ socket }, name);

    const before = await forwarders();
    const node = await system.nodePid();
    process.kill(node, 'SIGKILL');
    const killedAt = await count();
    await until('the guest to go on', async () => (await count()) > killedAt + 5, PATIENCE_MS);
    await until('another life of the node', async () => (await system.nodePid().catch(() => node)) !== node, PATIENCE_MS);
    expect(await forwarders()).toEqual(before);
    expect(await console()).not.toContain('failed');

    await until('the VM to be removed', async () => (await system.api('DELETE', `/restore/vms/${job.job_id}`)).status === 204, PATIENCE_MS);
    await reader;
    expect(await host.domains()).not.toContain('instant');
    expect(await forwarders()).toEqual([]);
    expect(await readdir(join(host.directory, 'guests'))).toEqual([]);
    const { stdout } = await run('ps', ['-eo', 'args'], { maxBuffer: 64 * 1024 * 1024 });
    expect(stdout).not.toContain(socket);
  });
});
