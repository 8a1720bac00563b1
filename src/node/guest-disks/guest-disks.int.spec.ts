import { execFile, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, jest } from '@jest/globals';
import { freePortRange } from '../../../test/support/free-ports.js';
import { until } from '../../../test/support/hub-system.js';
import { requireKernel, requireTools } from '../../../test/support/require-tools.js';
import { NodeConfig } from '../node.config.js';
import type { GuestAccount } from '../libvirt/guest-account.plan.js';
import { LibvirtDomains } from '../libvirt/libvirt-domains.js';
import { exportAccessDirectory, exportKeyFile, prepareExportAccess, writeKeyFile } from '../../hub/exports/nbd-servers/export-access.js';
import { nbdHandshake } from '../../lib/nbd/nbd-handshake.js';
import { exportUri, nbdUri } from '../../lib/nbd/nbd-uri.js';
import { targetServerArgv } from '../../lib/nbd/qemu-nbd.plan.js';
import type { ProcessIdentity } from '../../lib/process/process-supervisor.port.js';
import { ShellProcessSupervisor } from '../../lib/process/shell-process-supervisor.js';
import { QemuImg } from '../../lib/qemu/qemu-img.js';
import { type GuestDisk, GuestDisks } from './guest-disks.service.js';

jest.setTimeout(60_000);
const run = promisify(execFile);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdinfo', 'setpriv');

const MIB = 1024 * 1024;
const GUEST = 'guest-1';
const IS_ROOT = process.getuid?.() === 0;
const asRoot = requireKernel(IS_ROOT ? null : 'only root can give a socket to another account');
/** The guests' account, and an unrelated one. */
const ACCOUNT: GuestAccount = { uid: 65_534, gid: 65_534 };
const STRANGER = 65_533;

class SomeLibvirt extends LibvirtDomains {
  override guestAccount(): Promise<GuestAccount | null> {
    return Promise.resolve(IS_ROOT ? ACCOUNT : null);
  }
}

describe('disks of a guest that lives on the hub', () => {
  let folder: string;
  let disk: GuestDisk;
  let port: number;
  let config: NodeConfig;
  let disks: GuestDisks;
  const supervisor = new ShellProcessSupervisor();
  const soon = (): AbortSignal => AbortSignal.timeout(20_000);
  const forwarder = (): string => join(folder, 'run', 'guest-disks', GUEST, '0');

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sendense-guest-'));
    await chmod(folder, 0o711);
    await new QemuImg().create({ path: join(folder, 'disk.qcow2'), sizeBytes: 8 * MIB });
    await prepareExportAccess(folder, 'one', 'tls', 1);
    port = await freePortRange(1);
    disk = { uri: exportUri({ host: '127.0.0.1', port }, 'x'), keyFile: exportKeyFile(folder, 'one') };
    await startExport();
    config = Object.assign(new NodeConfig(), {
      runDirectory: join(folder, 'run'),
      tunnelDirectory: join(folder, 'tunnel'),
      guestSocketDirectory: join(folder, 'guests'),
      networkPatienceSeconds: 30,
    });
    disks = new GuestDisks(config, new SomeLibvirt(config), supervisor);
  });
  afterEach(async () => {
    await disks.close(GUEST);
    await supervisor.stop(join(folder, 'export'), 2_000);
    await rm(folder, { recursive: true, force: true });
  });

  async function startExport(): Promise<void> {
    const listen = { host: '127.0.0.1', port, keyDirectory: exportAccessDirectory(folder, 'one') };
    const argv = targetServerArgv({ file: join(folder, 'disk.qcow2'), readOnly: false, listen, exportName: 'x', sharedLimit: 0, cache: 'unsafe' });
    await supervisor.start(join(folder, 'export'), argv);
    await until('the export', () => nbdHandshake({ host: '127.0.0.1', port, keyFile: disk.keyFile }, 'x', soon()));
  }

  async function server(): Promise<ProcessIdentity> {
    return until('the forwarding server', async () => {
      const status = await supervisor.status(forwarder());
      return status.state === 'running' && status.identity;
    });
  }

  function as(uid: number, ...argv: readonly string[]): Promise<{ readonly stdout: string }> {
    const [file = '', ...rest] = IS_ROOT ? ['setpriv', '--reuid', String(uid), '--regid', String(uid), '--clear-groups', ...argv] : argv;
    return run(file, rest);
  }

  it("are readable and writable by the guests' account only", async () => {
    await disks.open(GUEST, [disk], soon());
    const uri = nbdUri({ socket: disks.socket(GUEST, 0) }, 'x');
    expect((await as(ACCOUNT.uid, 'nbdinfo', '--size', uri)).stdout.trim()).toBe(String(8 * MIB));
    await as(ACCOUNT.uid, 'qemu-io', '-f', 'raw', '-c', 'write -P 7 1M 64k', '-c', 'flush', '-c', 'read -P 7 1M 64k', uri);
    if (IS_ROOT) {
      await expect(as(STRANGER, 'nbdinfo', '--size', uri)).rejects.toThrow(/Permission denied/);
      await expect(as(STRANGER, 'qemu-io', '-f', 'raw', '-c', 'write -P 6 0 512', uri)).rejects.toThrow(/Permission denied/);
    }
    for (const place of [disks.socket(GUEST, 0), dirname(disks.socket(GUEST, 0))]) expect((await stat(place)).mode & 0o077).toBe(0);
    await expect(run('nbdinfo', ['--size', nbdUri({ host: '127.0.0.1', port }, 'x')])).rejects.toThrow(/TLS|not supported/i);
    const key = (await readFile(disk.keyFile, 'utf8')).trim().split(':')[1] ?? 'none';
    expect((await run('ps', ['-eo', 'args'])).stdout).not.toContain(key);
  });

  it('cannot be reached with another key, and then leave nothing behind', async () => {
    const keyFile = join(folder, 'other', 'keys.psk');
    await mkdir(dirname(keyFile));
    await writeKeyFile(keyFile, 'ab'.repeat(32));
    const impatient = new GuestDisks(Object.assign(config, { besideHub: true }), new SomeLibvirt(config), supervisor);
    await expect(impatient.open(GUEST, [disk, { ...disk, keyFile }], soon())).rejects.toMatchObject({ code: 'export_unreachable' });
    expect((await supervisor.status(join(dirname(forwarder()), '1'))).state).toBe('exited');
    await impatient.close(GUEST);
    expect(await readdir(join(folder, 'guests'))).toEqual([]);
  });

  it('survive a restart of the node, come back when their server is killed, and end with the guest', async () => {
    await disks.open(GUEST, [disk], soon());
    const first = await server();
    disks.onApplicationShutdown();
    disks = new GuestDisks(config, new SomeLibvirt(config), supervisor);
    disks.resume(GUEST, [disk]);
    await disks.open(GUEST, [disk], soon());
    expect(await server()).toEqual(first);

    process.kill(first.pid, 'SIGKILL');
    const uri = nbdUri({ socket: disks.socket(GUEST, 0) }, 'x');
    await until('the disk to be back', () =>
      as(ACCOUNT.uid, 'nbdinfo', '--size', uri).then(
        () => true,
        () => false,
      ),
    );
    expect((await server()).pid).not.toBe(first.pid);

    await disks.close(GUEST);
    expect(await readdir(join(folder, 'run', 'guest-disks'))).toEqual([]);
    expect(await readdir(join(folder, 'guests'))).toEqual([]);
  });

  it("hold the guest's requests while the connection to the hub is lost", async () => {
    await disks.open(GUEST, [disk], soon());
    const guest = spawn('qemu-io', ['-f', 'raw', nbdUri({ socket: disks.socket(GUEST, 0) }, 'x')], { stdio: ['pipe', 'pipe', 'inherit'] });
    let said = '';
    guest.stdout.on('data', (bytes: Buffer) => (said += bytes.toString()));
    const ended = new Promise<number | null>((resolve) => guest.once('exit', resolve));
    guest.stdin.write('read 0 512\n');
    await until('the guest to have its disk', () => Promise.resolve(said.includes('read 512/512')));
    await supervisor.stop(join(folder, 'export'), 0);
    await supervisor.forget(join(folder, 'export'));
    guest.stdin.end('write -P 5 0 512\nread -P 5 0 512\n');
    await startExport();
    expect(await ended).toBe(0);
    expect(said).toContain('wrote 512/512');
    expect(said).not.toContain('failed');
  });

  asRoot.it("are refused if the guests' account cannot reach them", async () => {
    const inaccessible = join(folder, 'inaccessible');
    await mkdir(inaccessible, { mode: 0o700 });
    disks = new GuestDisks(Object.assign(config, { guestSocketDirectory: join(inaccessible, 'guests') }), new SomeLibvirt(config), supervisor);
    await expect(disks.open(GUEST, [disk], soon())).rejects.toMatchObject({
      code: 'guest_socket_refused',
      message: expect.stringContaining(`uid 65534) may not pass through ${inaccessible}`),
    });
    expect((await supervisor.status(forwarder())).state).toBe('exited');
  });

  asRoot.it("are removed without following anything the guests' account has put there", async () => {
    await disks.open(GUEST, [disk], soon());
    const socket = disks.socket(GUEST, 0);
    const precious = join(folder, 'precious');
    await mkdir(precious);
    await writeFile(join(precious, 'file'), 'kept', { mode: 0o644 });
    await unlink(socket);
    await symlink(join(precious, 'file'), socket);
    await symlink(precious, join(dirname(socket), 'more'));
    await chmod(dirname(socket), 0o777);
    await disks.close(GUEST);
    expect(await readFile(join(precious, 'file'), 'utf8')).toBe('kept');
    const { mode, uid } = await stat(join(precious, 'file'));
    expect({ mode: mode & 0o777, uid }).toEqual({ mode: 0o644, uid: 0 });
    const [left = ''] = await readdir(join(folder, 'guests'));
    expect(left).toMatch(/\.foreign-/);
    expect((await stat(join(folder, 'guests', left))).mode & 0o777).toBe(0o700);
  });
});
