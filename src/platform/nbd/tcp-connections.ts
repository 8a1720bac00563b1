import { readFile } from 'node:fs/promises';
import { Injectable } from '@nestjs/common';
import { errnoOf } from '../process/system-error.js';

const ESTABLISHED = '01';

/** Counts TCP connections of this machine by their local port, from the kernel's own table. */
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
