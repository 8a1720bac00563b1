import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from '@jest/globals';
import { until } from '../../../test/support/hub-system.js';
import { requireTools } from '../../../test/support/require-tools.js';
import { ShellProcessSupervisor } from '../../lib/process/shell-process-supervisor.js';
import { NbdConnection, NbdConnectionLostError, NbdReplyError } from './nbd-connection.js';

const MIB = 1024 * 1024;
const { describe, it } = requireTools('qemu-nbd');

describe('a connection to an NBD server', () => {
  const supervisor = new ShellProcessSupervisor();
  const connections: NbdConnection[] = [];
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sendense-nbd-'));
    await writeFile(join(folder, 'disk.raw'), Buffer.alloc(8 * MIB, 7));
  });
  afterEach(async () => {
    for (const connection of connections.splice(0)) connection.destroy();
    await supervisor.stop(join(folder, 'run'), 2_000);
    await rm(folder, { recursive: true, force: true });
  });

  const open = async (exportName = ''): Promise<NbdConnection> => {
    const connection = await NbdConnection.open({ socket: join(folder, 'socket') }, exportName, AbortSignal.timeout(60_000));
    connections.push(connection);
    return connection;
  };
  const serve = async (...options: readonly string[]): Promise<NbdConnection> => {
    await supervisor.start(join(folder, 'run'), [
      ...(['qemu-nbd', '--persistent', '--shared=4', '-f', 'raw', '-k', join(folder, 'socket')] as const),
      ...options,
      join(folder, 'disk.raw'),
    ]);
    return until('the server', () => open());
  };

  it('has many requests in progress, and matches each to its answer', async () => {
    const connection = await serve();
    expect(connection).toMatchObject({ size: 8 * MIB, readOnly: false, canWriteZeroes: true });
    const pieces = Array.from({ length: 32 }, (_, index) => ({ offset: index * 100_352, bytes: Buffer.alloc(100_352, index) }));
    await Promise.all(pieces.map(({ offset, bytes }) => connection.write(offset, bytes)));
    await connection.writeZeroes(100_352, 512);
    await expect(connection.read(8 * MIB, Buffer.alloc(512))).rejects.toEqual(new NbdReplyError('EINVAL', 'Invalid argument'));
    pieces[1]?.bytes.fill(0, 0, 512);
    const readers = [connection, await open()];
    const read = await Promise.all(
      pieces.map(async ({ offset, bytes }, index) => {
        const into = Buffer.alloc(bytes.length, 255);
        await readers[index % 2]?.read(offset, into);
        return into.equals(bytes);
      }),
    );
    expect(read).toEqual(pieces.map(() => true));
    expect(connection.underWay).toBe(0);
  });

  it('reports its end to all pending requests', async () => {
    const connection = await serve('--read-only');
    expect(connection.readOnly).toBe(true);
    await expect(connection.write(0, Buffer.alloc(512))).rejects.toThrow(NbdReplyError);
    await expect(open('another')).rejects.toThrow('export "another" was refused');
    const reads = Promise.allSettled(Array.from({ length: 64 }, () => connection.read(0, Buffer.alloc(4 * MIB))));
    await supervisor.stop(join(folder, 'run'), 0);
    expect((await reads).at(-1)).toMatchObject({ status: 'rejected', reason: expect.any(NbdConnectionLostError) });
    expect(await connection.ended).toHaveProperty('message');
    await expect(connection.read(0, Buffer.alloc(512))).rejects.toThrow(NbdConnectionLostError);
    await expect(open()).rejects.toThrow(/ECONNREFUSED|ENOENT/);
  });

  it('is refused for a server that does not speak NBD, or sends nothing', async () => {
    const server = createServer((socket) => socket.on('error', () => undefined).write(Buffer.alloc(64, 1)));
    await new Promise<void>((resolve) => server.listen(join(folder, 'socket'), resolve));
    try {
      await expect(open()).rejects.toThrow('not an NBD server');
      server.removeAllListeners('connection');
      server.on('connection', (socket) => socket.resume());
      await expect(NbdConnection.open({ socket: join(folder, 'socket') }, '', AbortSignal.timeout(50))).rejects.toMatchObject({ name: 'TimeoutError' });
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });
});
