import { IncomingBytes, NbdHandshakeRefusedError, negotiate } from './nbd-negotiation.js';
import { openNbdSocket } from './nbd-socket.js';
import type { NbdAddress } from './nbd-uri.js';

/**
 * Negotiates up to the size of an export and disconnects without opening it, which costs a server next to nothing.
 * @returns size in bytes
 * @throws NbdHandshakeRefusedError; a system error such as ECONNREFUSED; or the signal's reason
 */
export async function nbdHandshake(address: NbdAddress, exportName: string, signal: AbortSignal): Promise<number> {
  signal.throwIfAborted();
  const { socket, greeted } = await openNbdSocket(address, signal);
  const abort = (): void => void socket.destroy(signal.reason as Error); // an abort reason is whatever the caller chose to throw
  signal.addEventListener('abort', abort);
  const incoming = new IncomingBytes();
  socket.on('data', (bytes) => incoming.push(bytes));
  socket.once('error', (error) => incoming.end(error));
  socket.once('close', () => incoming.end(new NbdHandshakeRefusedError('the server closed the connection')));
  try {
    return (await negotiate(incoming, (bytes) => socket.write(bytes), exportName, 'info', greeted)).size;
  } finally {
    signal.removeEventListener('abort', abort);
    socket.on('error', () => undefined);
    socket.destroySoon();
  }
}
