import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, jest } from '@jest/globals';
import { freePortRange } from '../../../test/support/free-ports.js';
import { until } from '../../../test/support/hub-system.js';
import { requireTools } from '../../../test/support/require-tools.js';
import { ShellProcessSupervisor } from '../process/shell-process-supervisor.js';
import { compareNbdArgv, convertNbdArgv } from '../qemu/disk-copy.plan.js';
import { QemuImg } from '../qemu/qemu-img.js';
import { exportAccessDirectory, exportKeyFile, exportSocket, prepareExportAccess, writeKeyFile } from '../../hub/exports/nbd-servers/export-access.js';
import { blockStatus } from './nbd-block-status.js';
import { NbdConnection } from '../../node/transfers/nbd-connection.js';
import { nbdHandshake } from './nbd-handshake.js';
import { NbdInfo } from './nbd-info.js';
import { type NbdAddress, nbdUri } from './nbd-uri.js';
import { targetServerArgv } from './qemu-nbd.plan.js';

jest.setTimeout(60_000);

const run = promisify(execFile);
const MIB = 1024 * 1024;
const STRANGERS = 200;
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'nbdinfo', 'openssl');

describe('an export with a key', () => {
  let folder: string;
  let address: NbdAddress & { readonly host: string; readonly port: number };
  const supervisor = new ShellProcessSupervisor();
  const soon = (): AbortSignal => AbortSignal.timeout(10_000);

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sendense-tls-'));
    const image = join(folder, 'disk.qcow2');
    await new QemuImg().create({ path: image, sizeBytes: 8 * MIB });
    await prepareExportAccess(folder, 'one', 'tls', 1);
    const port = await freePortRange(2);
    const listen = { host: '127.0.0.1', port, keyDirectory: exportAccessDirectory(folder, 'one') };
    await supervisor.start(join(folder, 'run'), targetServerArgv({ file: image, readOnly: false, listen, exportName: 'x', sharedLimit: 0, cache: 'unsafe' }));
    address = { host: '127.0.0.1', port, keyFile: exportKeyFile(folder, 'one') };
    await until('the server', () => nbdHandshake(address, 'x', soon()));
  });
  afterEach(async () => {
    await supervisor.stop(join(folder, 'run'), 2_000);
    await rm(folder, { recursive: true, force: true });
  });

  it("serves its holders: our own client and libnbd's", async () => {
    const connection = await NbdConnection.open(address, 'x', soon());
    const written = Buffer.alloc(MIB, 7);
    await Promise.all([connection.write(0, written), connection.writeZeroes(4 * MIB, MIB), connection.write(2 * MIB, written)]);
    const read = Buffer.alloc(MIB);
    await connection.read(2 * MIB, read);
    expect(read.equals(written)).toBe(true);
    connection.close();
    expect((await blockStatus(address, 'x', 'base:allocation', soon()))[0]).toMatchObject({ offset: 0, length: MIB });
    expect(await new NbdInfo().size(nbdUri(address, 'x'), 10_000)).toBe(8 * MIB);
  });

  it("serves qemu's tools, also through a socket", async () => {
    const copy = join(folder, 'copy.qcow2');
    const socket = join(folder, 'way.sock');
    const way = createServer((near) => {
      const far = connect({ host: address.host, port: address.port });
      near.pipe(far).pipe(near);
      for (const one of [near, far]) one.on('error', () => undefined);
    });
    await new Promise<void>((resolve) => way.listen({ path: socket }, resolve));
    for (const uri of [nbdUri(address, 'x'), nbdUri({ socket, keyFile: address.keyFile ?? '' }, 'x')]) {
      for (const [file, ...rest] of [convertNbdArgv(uri, copy, 0), compareNbdArgv(uri, copy, 0)]) await run(file, rest);
    }
    way.close();
  });

  it('hides its key from everyone else', async () => {
    const { keyFile = '' } = address;
    expect(((await stat(keyFile)).mode & 0o777).toString(8)).toBe('600');
    expect(((await stat(exportAccessDirectory(folder, 'one'))).mode & 0o777).toString(8)).toBe('700');
    const key = (await readFile(keyFile, 'utf8')).trim().split(':')[1] ?? 'none';
    const { stdout } = await run('ps', ['-eo', 'args']);
    expect(stdout).toContain(exportAccessDirectory(folder, 'one'));
    expect(stdout).not.toContain(key);
    // A later attempt to start it finds the key that a node may have received already.
    await prepareExportAccess(folder, 'one', 'tls', 1);
    expect(await readFile(keyFile, 'utf8')).toContain(key);
  });

  it("refuses clients without the key or with another export's key, even for the list of names", async () => {
    const { host, port } = address;
    await expect(NbdConnection.open({ host, port }, 'x', soon())).rejects.toThrow(/refused/);
    await expect(run('nbdinfo', ['--list', `nbd://127.0.0.1:${port}/`])).rejects.toThrow(/TLS|not supported/i);
    const other = join(folder, 'other.psk');
    await writeKeyFile(other, 'ab'.repeat(32));
    await expect(NbdConnection.open({ ...address, keyFile: other }, 'x', soon())).rejects.toThrow(/TLS was refused|closed the connection/);
    await expect(run('nbdinfo', ['--size', nbdUri({ ...address, keyFile: other }, 'x')])).rejects.toThrow();
  });

  it('serves its holders while strangers hold connections open without presenting a key', async () => {
    const strangers: Socket[] = [];
    for (let index = 0; index < STRANGERS; index++) {
      const socket = connect({ host: address.host, port: address.port });
      strangers.push(socket);
      socket.on('error', () => undefined);
      await new Promise((resolve) => socket.once('data', resolve));
    }
    const connections = await Promise.all(Array.from({ length: 8 }, () => NbdConnection.open(address, 'x', soon())));
    await Promise.all(connections.map((connection, index) => connection.write(index * MIB, Buffer.alloc(4096, 1))));
    for (const connection of connections) connection.close();
    for (const stranger of strangers) stranger.destroy();
  });

  it('detects a man in the middle that alters data', async () => {
    const bent = await relay(address.port + 1, address.port, (bytes, total) => (total > 6_000 ? bytes.map((byte) => byte ^ 1) : bytes));
    try {
      const connection = await NbdConnection.open({ ...address, port: address.port + 1 }, 'x', soon());
      await expect(connection.write(0, Buffer.alloc(MIB, 9))).rejects.toThrow();
      const direct = await NbdConnection.open(address, 'x', soon());
      const read = Buffer.alloc(MIB);
      await direct.read(0, read);
      expect(read.equals(Buffer.alloc(MIB))).toBe(true);
      direct.close();
    } finally {
      bent.close();
    }
  });

  it('detects a man in the middle that strips TLS or presents a certificate', async () => {
    const plain = fakeServer((socket) => socket.write(reply(0x80000001)));
    const certificate = join(folder, 'own');
    await run('openssl', [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-subj',
      '/CN=x',
      '-days',
      '1',
      '-keyout',
      `${certificate}.key`,
      '-out',
      `${certificate}.pem`,
    ]);
    const tls = createTlsServer({ key: await readFile(`${certificate}.key`), cert: await readFile(`${certificate}.pem`), minVersion: 'TLSv1.3' });
    const certified = fakeServer((socket) => {
      socket.write(reply(1));
      tls.emit('connection', socket);
    });
    for (const [server, words] of [
      [plain, /refused/],
      [certified, /TLS was refused/],
    ] as const) {
      const port = await listening(server);
      await expect(nbdHandshake({ ...address, port }, 'x', soon())).rejects.toThrow(words);
      server.close();
    }
  });
});

describe('an export on a socket', () => {
  it('is in a directory that no other account can enter', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sendense-tls-'));
    const supervisor = new ShellProcessSupervisor();
    try {
      await chmod(folder, 0o755);
      const image = join(folder, 'disk.qcow2');
      await new QemuImg().create({ path: image, sizeBytes: MIB });
      await prepareExportAccess(folder, 'one', 'unix', 1);
      const socket = exportSocket(folder, 'one');
      await supervisor.start(
        join(folder, 'run'),
        targetServerArgv({ file: image, readOnly: false, listen: { socket }, exportName: 'x', sharedLimit: 4, cache: 'unsafe' }),
      );
      await until('the server', () => nbdHandshake({ socket }, 'x', AbortSignal.timeout(1_000)));
      if (process.getuid?.() === 0) {
        const stranger = ['--reuid', '65534', '--regid', '65534', '--clear-groups', 'nbdinfo', '--size', nbdUri({ socket }, 'x')];
        await expect(run('setpriv', stranger)).rejects.toThrow(/Permission denied/);
      }
      expect(((await stat(join(socket, '..'))).mode & 0o777).toString(8)).toBe('700');
    } finally {
      await supervisor.stop(join(folder, 'run'), 2_000);
      await rm(folder, { recursive: true, force: true });
    }
  });
});

/** @param bend receives the client's data and the number of bytes it sent before */
async function relay(from: number, to: number, bend: (bytes: Buffer, before: number) => Uint8Array): Promise<Server> {
  const server = createServer((client) => {
    const onward = connect({ host: '127.0.0.1', port: to });
    let total = 0;
    client.on('data', (bytes) => {
      onward.write(bend(bytes, total));
      total += bytes.length;
    });
    onward.pipe(client);
    for (const [one, other] of [
      [client, onward],
      [onward, client],
    ] as const) {
      one.on('error', () => undefined);
      one.on('close', () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(from, '127.0.0.1', resolve));
  return server;
}

/** Greets like an NBD server and reacts to the first option. */
function fakeServer(onOption: (socket: Socket) => void): Server {
  return createServer((socket) => {
    socket.on('error', () => undefined);
    socket.write(Buffer.concat([Buffer.from('NBDMAGICIHAVEOPT', 'latin1'), Buffer.from([0, 3])]));
    let received = 0;
    const onData = (bytes: Buffer): void => {
      received += bytes.length;
      // Flags, and the TLS request.
      if (received < 4 + 16) return;
      socket.off('data', onData);
      onOption(socket);
    };
    socket.on('data', onData);
  });
}

function reply(type: number): Buffer {
  const bytes = Buffer.alloc(20);
  bytes.writeBigUInt64BE(0x3e889045565a9n, 0);
  bytes.writeUInt32BE(5, 8);
  bytes.writeUInt32BE(type, 12);
  return bytes;
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const place = server.address();
  return typeof place === 'object' && place !== null ? place.port : 0;
}
