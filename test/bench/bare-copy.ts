import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { execa, type ResultPromise } from 'execa';
import { changedCopyArgv, fullCopyArgv } from '../../src/node/transfers/transfer.plan.js';
import { NodeConfig } from '../../src/node/node.config.js';
import { nbdUri } from '../../src/lib/nbd/nbd-uri.js';
import { sourceServerArgv, targetServerArgv } from '../../src/lib/nbd/qemu-nbd.plan.js';

export interface BareDisk {
  readonly image: string;
  readonly sizeBytes: number;
  /** What has changed, and the file it has changed since; null: everything. */
  readonly changes: { readonly extents: readonly { readonly offset: number; readonly length: number }[]; readonly backingFile: string } | null;
}

const SHARED_LIMIT = 10;
const START_PATIENCE_MS = 10_000;

/**
 * Copies disks all at once with nothing but nbdcopy, from and to the same kinds of servers and with the same options as the system, and with --flush, so that both end with the
 * data on the disk. Servers and empty targets are made ready before the clock starts.
 * @returns milliseconds
 */
export async function bareCopy(disks: readonly BareDisk[]): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'sendense-bare-'));
  const servers: ResultPromise[] = [];
  try {
    const copies: (readonly [string, ...string[]])[] = [];
    const { nbdcopyConnections, nbdcopyRequests, nbdcopyRequestSizeBytes } = new NodeConfig();
    const tuning = { connections: nbdcopyConnections, requests: nbdcopyRequests, requestSize: nbdcopyRequestSizeBytes };
    for (const [index, disk] of disks.entries()) {
      const target = join(directory, `target-${index}.qcow2`);
      const backing = disk.changes === null ? [] : ['-b', disk.changes.backingFile, '-F', 'qcow2'];
      await execa('qemu-img', ['create', '-q', '-f', 'qcow2', ...backing, target, String(disk.sizeBytes)]);
      const socket = join(directory, `source-${index}.sock`);
      const targetSocket = join(directory, `target-${index}.sock`);
      const exportName = `disk${index}`;
      servers.push(
        serve(
          sourceServerArgv({ image: { path: disk.image, format: 'qcow2', isDevice: false, backing: null }, socket, sharedLimit: SHARED_LIMIT, bitmap: null }),
        ),
        serve(
          targetServerArgv({
            file: target,
            readOnly: false,
            listen: { socket: targetSocket },
            exportName,
            sharedLimit: SHARED_LIMIT,
            cache: 'writeback',
          }),
        ),
      );
      await Promise.all([awaitServer({ path: socket }), awaitServer({ path: targetSocket })]);
      const targetUri = nbdUri({ socket: targetSocket }, exportName);
      if (disk.changes === null) {
        copies.push(fullCopyArgv(nbdUri({ socket }, ''), targetUri, tuning));
      } else {
        const list = join(directory, `extents-${index}`);
        await writeFile(list, disk.changes.extents.map(({ offset, length }) => `${offset} ${length}\n`).join(''));
        copies.push(changedCopyArgv(nbdUri({ socket }, ''), list, targetUri, tuning));
      }
    }
    const begun = performance.now();
    // The fourth is where nbdcopy writes its progress; left closed, its number would go to a connection.
    await Promise.all(copies.map(([program, ...options]) => execa(program, ['--flush', ...options], { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] })));
    return performance.now() - begun;
  } finally {
    for (const server of servers) server.kill('SIGTERM');
    await Promise.allSettled(servers);
    await rm(directory, { recursive: true });
  }
}

function serve([program, ...options]: readonly [string, ...string[]]): ResultPromise {
  const server = execa(program, options, { reject: false });
  return server;
}

async function awaitServer(address: { readonly path: string } | { readonly host: string; readonly port: number }): Promise<void> {
  const ends = performance.now() + START_PATIENCE_MS;
  for (;;) {
    const listens = await new Promise<boolean>((resolve) => {
      const socket = connect(address, () => resolve(true)).once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
    if (listens) return;
    if (performance.now() > ends) throw new Error(`nobody listens on ${JSON.stringify(address)}`);
    await pause(10);
  }
}
