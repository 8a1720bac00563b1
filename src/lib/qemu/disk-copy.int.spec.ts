import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import { freePortRange } from '../../../test/support/free-ports.js';
import { until } from '../../../test/support/hub-system.js';
import { requireTools } from '../../../test/support/require-tools.js';
import { runTool } from '../process/run-tool.js';
import { compareNbdArgv, convertNbdArgv } from './disk-copy.plan.js';

jest.setTimeout(180_000);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd');
const run = promisify(execFile);
const MIB = 1024 * 1024;

let directory: string;
let port: number;
let server: ChildProcess;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sendense-copy-'));
  port = await freePortRange(2);
  await writeFile(join(directory, 'disk.raw'), randomBytes(16 * MIB));
  server = spawn('qemu-nbd', [
    '-r',
    '--persistent',
    '--shared=20',
    '-f',
    'raw',
    '-b',
    '127.0.0.1',
    '-p',
    String(port),
    '-x',
    'disk 0',
    join(directory, 'disk.raw'),
  ]);
  await until('the export', async () => {
    await run('qemu-img', ['info', `nbd://127.0.0.1:${port}/disk%200`]);
    return true;
  });
});

afterAll(async () => {
  server.kill('SIGKILL');
  await rm(directory, { recursive: true, force: true });
});

/** A proxy to the export that can be cut after a number of bytes: its connections break, and nothing listens any more. */
class Way {
  private readonly sockets = new Set<Socket>();
  private carried = 0;
  readonly cut = Promise.withResolvers<undefined>();
  private readonly server: Server;

  private constructor(cutAfter: number) {
    this.server = createServer((near) => {
      const far = connect({ host: '127.0.0.1', port });
      for (const socket of [near, far]) {
        this.sockets.add(socket);
        socket.on('error', () => undefined);
      }
      near.pipe(far);
      far.on('data', (bytes) => {
        this.carried += bytes.length;
        if (this.carried < cutAfter) near.write(bytes);
        else this.close();
      });
      near.on('close', () => far.destroy());
      far.on('close', () => near.destroy());
    });
  }

  static async open(cutAfter = Number.POSITIVE_INFINITY): Promise<Way> {
    const way = new Way(cutAfter);
    await new Promise<void>((resolve) => way.server.listen(port + 1, '127.0.0.1', resolve));
    return way;
  }

  close(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
    this.cut.resolve(undefined);
  }
}

const uri = (): string => `nbd://127.0.0.1:${port + 1}/disk%200`;

describe('a copy from an export across a network', () => {
  it('continues when a lost connection can be re-established', async () => {
    const way = await Way.open(4 * MIB);
    const target = join(directory, 'whole.qcow2');
    const copying = runTool(convertNbdArgv(uri(), target, 60), { deadlineMs: 120_000 });
    await way.cut.promise;
    // While nothing listens, the copy has seen that at least once.
    await expect(run('qemu-img', ['info', uri()])).rejects.toThrow(/refused/i);
    const mended = await Way.open();
    await copying;
    expect((await runTool(compareNbdArgv(uri(), target, 0))).exitCode).toBe(0);
    mended.close();
    await run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', join(directory, 'disk.raw'), target]);
  });

  it('reports the loss when it outlasts the patience, and immediately without any', async () => {
    for (const patience of [1, 0]) {
      const way = await Way.open(4 * MIB);
      await expect(runTool(convertNbdArgv(uri(), join(directory, 'part.qcow2'), patience), { deadlineMs: 120_000 })).rejects.toMatchObject({
        code: 'tool_failed',
        stderrTail: expect.stringMatching(/error while reading|Input\/output error/),
      });
      way.close();
    }
  });
});
