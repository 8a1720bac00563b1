import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from '@jest/globals';
import { requireTools } from '../../../test/support/require-tools.js';
import { runTool } from '../process/run-tool.js';
import { ShellProcessSupervisor } from '../process/shell-process-supervisor.js';
import type { ImageGraph } from '../qemu/image-graph.plan.js';
import { QemuImg } from '../qemu/qemu-img.js';
import { nbdHandshake } from './nbd-handshake.js';
import { NbdInfo } from './nbd-info.js';
import { nbdUri } from './nbd-uri.js';
import { PortProbe } from './port-probe.js';
import { sourceServerArgv, targetServerArgv } from './qemu-nbd.plan.js';
import { TcpConnections } from '../../hub/exports/nbd-servers/tcp-connections.js';

const MIB = 1024 * 1024;
const qcow2 = (path: string): ImageGraph => ({ path, format: 'qcow2', isDevice: false, backing: null });
const { describe, it } = requireTools('qemu-img', 'qemu-io', 'qemu-nbd', 'nbdinfo');

describe('our qemu-nbd', () => {
  let folder: string;
  let image: string;
  let run: string;
  const supervisor = new ShellProcessSupervisor();
  const nbdInfo = new NbdInfo();

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sendense-nbd-'));
    image = join(folder, 'nbd:odd, name=ü.qcow2');
    run = join(folder, 'run');
    const qemuImg = new QemuImg();
    await qemuImg.create({ path: image, sizeBytes: 64 * MIB });
    await runTool(['qemu-io', '-f', 'qcow2', '-c', 'write -P 1 0 1M', image]);
    await qemuImg.addBitmap(qcow2(image), 'since-then', 65536);
    await runTool(['qemu-io', '-f', 'qcow2', '-c', 'write -P 2 8M 64k', '-c', 'write -z 32M 128k', image]);
  });
  afterEach(async () => {
    await supervisor.stop(run, 2_000);
    await rm(folder, { recursive: true, force: true });
  });

  async function answers(address: Parameters<typeof nbdHandshake>[0], name: string): Promise<number> {
    for (;;) {
      try {
        return await nbdHandshake(address, name, AbortSignal.timeout(2_000));
      } catch (error) {
        const status = await supervisor.status(run);
        if (status.state === 'exited') throw new Error(status.stderr, { cause: error });
      }
    }
  }

  it('serves an image with its bitmap on a socket', async () => {
    const socket = join(folder, 'sock et');
    await supervisor.start(run, sourceServerArgv({ image: qcow2(image), socket, sharedLimit: 4, bitmap: 'since-then' }));
    expect(await answers({ socket }, '')).toBe(64 * MIB);
    const uri = nbdUri({ socket }, '');
    expect(await nbdInfo.size(uri, 60_000)).toBe(64 * MIB);
    expect(await nbdInfo.dirtyExtents(uri, 'since-then')).toEqual([
      { offset: 8 * MIB, length: 65536 },
      { offset: 32 * MIB, length: 131072 },
    ]);
    expect(await nbdInfo.allocatedExtents(uri)).toEqual([
      { offset: 0, length: MIB },
      { offset: 8 * MIB, length: 65536 },
    ]);
    await expect(nbdInfo.dirtyExtents(uri, 'another')).rejects.toThrow('export "" has no "qemu:dirty-bitmap:another"');
    await supervisor.stop(run, 2_000);
    await expect(nbdInfo.allocatedExtents(uri)).rejects.toThrow(/ECONNREFUSED|ENOENT/);
  });

  it('reports a disk that is larger than one request can cover', async () => {
    const GIB = 1024 * MIB;
    const large = join(folder, 'large.qcow2');
    await new QemuImg().create({ path: large, sizeBytes: 9 * GIB + 512 });
    await new QemuImg().addBitmap(qcow2(large), 'since-then', 65536);
    const writes = [`write -P 1 ${4 * GIB - 65536} 128k`, `write -P 1 ${8 * GIB} 64k`, `write -P 1 ${9 * GIB} 512`];
    await runTool(['qemu-io', '-f', 'qcow2', ...writes.flatMap((write) => ['-c', write]), large]);
    const socket = join(folder, 'socket');
    await supervisor.start(run, sourceServerArgv({ image: qcow2(large), socket, sharedLimit: 4, bitmap: 'since-then' }));
    expect(await answers({ socket }, '')).toBe(9 * GIB + 512);
    const written = [
      { offset: 4 * GIB - 65536, length: 131072 },
      { offset: 8 * GIB, length: 65536 },
      { offset: 9 * GIB, length: 512 },
    ];
    expect(await nbdInfo.dirtyExtents(nbdUri({ socket }, ''), 'since-then')).toEqual(written);
    expect(await nbdInfo.allocatedExtents(nbdUri({ socket }, ''))).toEqual(written);
  });

  it('serves a target by its export name only, and keeps running after clients disconnect', async () => {
    const address = { socket: join(folder, 'socket') };
    const name = 'backup-vm ü-disk0';
    await supervisor.start(
      run,
      targetServerArgv({
        file: image,
        readOnly: false,
        listen: address,
        exportName: name,
        sharedLimit: 2,
        cache: 'unsafe',
      }),
    );
    expect(await answers(address, name)).toBe(64 * MIB);
    await expect(nbdHandshake(address, 'another', AbortSignal.timeout(60_000))).rejects.toThrow('"another" was refused');
    expect(await nbdInfo.size(nbdUri(address, name), 60_000)).toBe(64 * MIB);
    expect((await supervisor.status(run)).state).toBe('running');
  });

  it('is counted as in use with its connections', async () => {
    const port = await freePort();
    const server = createServer((socket) => socket.resume());
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    try {
      expect(await new PortProbe().isFree('127.0.0.1', port)).toBe(false);
      // The server sends no greeting, so the handshake stays open until it is aborted.
      const controller = new AbortController();
      const handshake = nbdHandshake({ host: '127.0.0.1', port }, 'x', controller.signal);
      const connections = new TcpConnections();
      while ((await connections.establishedByLocalPort()).get(port) !== 1);
      controller.abort(new Error('enough'));
      await expect(handshake).rejects.toThrow('enough');
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
    expect(await new PortProbe().isFree('127.0.0.1', port)).toBe(true);
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
