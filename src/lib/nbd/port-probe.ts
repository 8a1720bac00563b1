import { createServer } from 'node:net';
import { Injectable } from '@nestjs/common';
import { errnoOf } from '../process/system-error.js';

/** Checks whether a TCP port is free by listening on it for a moment. */
@Injectable()
export class PortProbe {
  /** @throws Error when the address itself is unusable (no such interface, no permission) */
  async isFree(host: string, port: number): Promise<boolean> {
    const server = createServer();
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ host, port, exclusive: true }, resolve);
      });
      return true;
    } catch (error) {
      if (errnoOf(error) === 'EADDRINUSE') return false;
      throw error;
    } finally {
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    }
  }
}
