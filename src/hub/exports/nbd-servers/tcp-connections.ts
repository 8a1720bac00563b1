import { readFile } from 'node:fs/promises';
import { Injectable } from '@nestjs/common';
import { errnoOf } from '../../../lib/process/system-error.js';

const ESTABLISHED = '01';
/** SS_CONNECTED of a Unix socket. */
const CONNECTED = '03';

/** Counts this machine's connections by server port or socket, from the kernel's tables. */
@Injectable()
export class TcpConnections {
  /** Established connections by local port; a port not in the map has none. */
  async establishedByLocalPort(): Promise<ReadonlyMap<number, number>> {
    const counts = new Map<number, number>();
    for (const table of await Promise.all([readTable('/proc/net/tcp'), readTable('/proc/net/tcp6')])) {
      // `sl local_address rem_address st ...`, addresses as `<hex ip>:<hex port>`
      for (const line of table.split('\n').slice(1)) {
        const [, local, , state] = line.trim().split(/\s+/);
        if (state !== ESTABLISHED || local === undefined) continue;
        const port = Number.parseInt(local.slice(local.lastIndexOf(':') + 1), 16);
        counts.set(port, (counts.get(port) ?? 0) + 1);
      }
    }
    return counts;
  }

  /** Established connections by path of the server's Unix socket; a path not in the map has none. */
  async establishedBySocket(): Promise<ReadonlyMap<string, number>> {
    const counts = new Map<string, number>();
    // `Num RefCount Protocol Flags Type St Inode Path`; an accepted connection has the path of the listening socket.
    for (const line of (await readTable('/proc/net/unix')).split('\n').slice(1)) {
      const [, state, path] = /^\S+ \S+ \S+ \S+ \S+ (\S+) +\d+ (\/.*)$/.exec(line) ?? [];
      if (state === CONNECTED && path !== undefined) counts.set(path, (counts.get(path) ?? 0) + 1);
    }
    return counts;
  }
}

/** Empty if the kernel has no IPv6. */
async function readTable(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  }
}
