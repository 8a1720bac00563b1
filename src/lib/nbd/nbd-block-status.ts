import { type IncomingBytes, NbdHandshakeRefusedError, negotiateContext } from './nbd-negotiation.js';
import { CHUNK_HEADER_BYTES, nbdError, type NbdStatus, parseBlockStatus, parseChunk, parseChunkError, requestHeader } from './nbd-protocol.plan.js';
import { withNbdServer } from './nbd-socket.js';
import type { NbdAddress } from './nbd-uri.js';

/** Bytes per request: the length field has 32 bits. A server may answer for less. */
const LONGEST_REQUEST = 2 ** 32 - 2 ** 16;
/** qemu reports up to 131072 extents of 8 bytes each in one answer. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

/** An extent of a disk, in bytes, with the flags of the context. */
export interface BlockStatus {
  readonly offset: number;
  readonly length: number;
  readonly flags: number;
}

/**
 * The block status of a whole export in a context such as `base:allocation` or `qemu:dirty-bitmap:NAME`, in order of offset; neighbours with the same flags are
 * joined.
 * @throws NbdHandshakeRefusedError, also when the export has no such context; Error; a system error such as ECONNREFUSED; or the signal's reason
 */
export async function blockStatus(address: NbdAddress, exportName: string, context: string, signal: AbortSignal): Promise<readonly BlockStatus[]> {
  return withNbdServer(address, signal, async (incoming, write, greeted) => {
    const { size, contextId } = await negotiateContext(incoming, write, exportName, context, greeted);
    const found: BlockStatus[] = [];
    for (let offset = 0, cookie = 0; offset < size; cookie++) {
      write(requestHeader({ command: 'blockStatus', cookie, offset, length: Math.min(LONGEST_REQUEST, size - offset) }));
      const before = offset;
      for (const { length, flags } of await answer(incoming, cookie, contextId)) {
        // The last extent may extend past the requested range.
        const within = Math.min(length, size - offset);
        const previous = found.at(-1);
        if (previous !== undefined && previous.flags === flags) found[found.length - 1] = { ...previous, length: previous.length + within };
        else if (within > 0) found.push({ offset, length: within, flags });
        offset += within;
      }
      if (offset === before) throw new Error(`the server reported nothing for "${context}" at offset ${offset}`);
    }
    write(requestHeader({ command: 'disconnect', cookie: 0, offset: 0, length: 0 }));
    return found;
  });
}

/** All chunks of one answer. */
async function answer(incoming: IncomingBytes, cookie: number, contextId: number): Promise<readonly NbdStatus[]> {
  let stretches: readonly NbdStatus[] = [];
  let refusal: number | null = null;
  for (let last = false; !last;) {
    const chunk = parseChunk(await incoming.take(CHUNK_HEADER_BYTES));
    if (chunk === null || chunk.cookie !== cookie || chunk.length > MAX_ANSWER_BYTES)
      throw new NbdHandshakeRefusedError('the server sent an unrequested answer');
    const data = await incoming.take(chunk.length);
    if (chunk.type === 'error') refusal = parseChunkError(data);
    else if (chunk.type === 'blockStatus') stretches = parseBlockStatus(data, contextId) ?? stretches;
    last = chunk.last;
  }
  if (refusal !== null) throw new Error(`the server refused the block status request: ${nbdError(refusal).text}`);
  return stretches;
}
