import { readFile } from 'node:fs/promises';
import { Injectable } from '@nestjs/common';
import { errnoOf } from '../../../lib/process/system-error.js';

const ESTABLISHED = '01';
/** Of a Unix socket, SS_CONNECTED. */
const CONNECTED = '03';

/** Counts connections of this machine by the port or the socket that they were made to, from the kernel's own tables. */
@Injectable()
export class TcpConnections {
  /** Established connections by local port; a port that is not in it has none. */
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

  /** Established connections by the path of the server's Unix socket; a path that is not in it has none. */
  async establishedBySocket(): Promise<ReadonlyMap<string, number>> {
    const counts = new Map<string, number>();
    // `Num RefCount Protocol Flags Type St Inode Path`; what a server has accepted has the path of the socket that it listens on.
    for (const line of (await readTable('/proc/net/unix')).split('\n').slice(1)) {
      const [, state, path] = /^\S+ \S+ \S+ \S+ \S+ (\S+) +\d+ (\/.*)$/.exec(line) ?? [];
      if (state === CONNECTED && path !== undefined) counts.set(path, (counts.get(path) ?? 0) + 1);
    }
    return counts;
  }
}

/** Empty where the kernel has no IPv6. */
async function readTable(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  }
}
