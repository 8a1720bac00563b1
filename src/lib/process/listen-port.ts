import { createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

const RETRY_MS = 100;

/**
 * The port to listen on: the wanted one once it is free, or, for 0, the preferred one if it is free and any other if not. Waits because the socket of a killed
 * program may linger for a moment.
 * @throws Error with the remedy when the port stays in use for patienceMs, or the host is not an address of this machine
 */
export async function portToListenOn(host: string, wanted: number, preferred: number | null, patienceMs: number): Promise<number> {
  if (wanted === 0) return preferred !== null && (await isFree(host, preferred)) ? preferred : 0;
  for (const ends = performance.now() + patienceMs; ;) {
    if (await isFree(host, wanted)) return wanted;
    if (performance.now() >= ends) {
      throw new Error(`port ${wanted} of ${host} is in use by another program; stop that program, or choose another port (SENDENSE_LISTEN_PORT, 0 for any)`);
    }
    await pause(RETRY_MS);
  }
}

/** Base URL of a server on this host and port; a server that listens on all addresses is reached through loopback. */
export function baseUrl(host: string, port: number): string {
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}

async function isFree(host: string, port: number): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const server = createServer();
  server.once('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EADDRINUSE') resolve(false);
    else reject(new Error(`cannot listen on port ${port} of ${host}: ${error.message}`, { cause: error }));
  });
  server.listen(port, host, () => {
    server.close(() => {
      resolve(true);
    });
  });
  return promise;
}

/** Whether only programs on this machine can reach a server on this address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}
