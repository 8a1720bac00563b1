import { negotiate } from './nbd-negotiation.js';
import { withNbdServer } from './nbd-socket.js';
import type { NbdAddress } from './nbd-uri.js';

/**
 * Negotiates up to the size of an export and disconnects without opening it, which costs a server next to nothing.
 * @returns size in bytes
 * @throws NbdHandshakeRefusedError; a system error such as ECONNREFUSED; or the signal's reason
 */
export async function nbdHandshake(address: NbdAddress, exportName: string, signal: AbortSignal): Promise<number> {
  return withNbdServer(address, signal, async (incoming, write, greeted) => (await negotiate(incoming, write, exportName, 'info', greeted)).size);
}
