/** The transmission phase of the NBD protocol (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md). */

const REQUEST_MAGIC = 0x25609513;
const SIMPLE_REPLY_MAGIC = 0x67446698;
const STRUCTURED_REPLY_MAGIC = 0x668e33ef;
const CHUNK_DONE = 1;
const CHUNK_TYPES = { none: 0, blockStatus: 5, errors: 0x8000 } as const;

export const NBD_COMMANDS = { read: 0, write: 1, disconnect: 2, writeZeroes: 6, blockStatus: 7 } as const;
export type NbdCommand = keyof typeof NBD_COMMANDS;

/** Transmission flags of an export. */
export const NBD_READ_ONLY = 2;
export const NBD_HAS_WRITE_ZEROES = 64;

export const REQUEST_BYTES = 28;
export const REPLY_BYTES = 16;
export const CHUNK_HEADER_BYTES = 20;
/** The cookie that identifies the request of an answer has 64 bits on the wire, of which this many are used. */
export const COOKIE_BITS = 32;

export interface NbdRequest {
  readonly command: NbdCommand;
  /** Returned in the reply; less than 2 ** COOKIE_BITS. */
  readonly cookie: number;
  /** Bytes. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
}

/** @returns the header; the data of a write follow it */
export function requestHeader({ command, cookie, offset, length }: NbdRequest): Buffer {
  const header = Buffer.allocUnsafe(REQUEST_BYTES);
  header.writeUInt32BE(REQUEST_MAGIC, 0);
  header.writeUInt16BE(0, 4);
  header.writeUInt16BE(NBD_COMMANDS[command], 6);
  header.writeUInt32BE(0, 8);
  header.writeUInt32BE(cookie, 12);
  header.writeBigUInt64BE(BigInt(offset), 16);
  header.writeUInt32BE(length, 24);
  return header;
}

export interface NbdReply {
  readonly cookie: number;
  /** 0: done. */
  readonly error: number;
}

/** @param header REPLY_BYTES bytes @returns null when it is not a simple reply to one of our requests */
export function parseReply(header: Buffer): NbdReply | null {
  if (header.readUInt32BE(0) !== SIMPLE_REPLY_MAGIC || header.readUInt32BE(8) !== 0) return null;
  return { cookie: header.readUInt32BE(12), error: header.readUInt32BE(4) };
}

/** The header of one chunk of a structured reply. */
export interface NbdChunk {
  /** The reply has no further chunks. */
  readonly last: boolean;
  readonly type: 'none' | 'blockStatus' | 'error' | 'other';
  readonly cookie: number;
  /** Bytes that follow. */
  readonly length: number;
}

/** @param header CHUNK_HEADER_BYTES bytes @returns null when it does not start a structured reply to one of our requests */
export function parseChunk(header: Buffer): NbdChunk | null {
  if (header.readUInt32BE(0) !== STRUCTURED_REPLY_MAGIC || header.readUInt32BE(8) !== 0) return null;
  const type = header.readUInt16BE(6);
  return {
    last: (header.readUInt16BE(4) & CHUNK_DONE) !== 0,
    type: type === CHUNK_TYPES.none ? 'none' : type === CHUNK_TYPES.blockStatus ? 'blockStatus' : (type & CHUNK_TYPES.errors) !== 0 ? 'error' : 'other',
    cookie: header.readUInt32BE(12),
    length: header.readUInt32BE(16),
  };
}

/** An extent that starts where the previous one ends, and its flags in a context. */
export interface NbdStatus {
  /** Bytes. */
  readonly length: number;
  readonly flags: number;
}

/** @param data the payload of a block status chunk @returns null when it belongs to another context, or is not a block status */
export function parseBlockStatus(data: Buffer, contextId: number): readonly NbdStatus[] | null {
  if (data.length < 12 || data.length % 8 !== 4 || data.readUInt32BE(0) !== contextId) return null;
  const stretches: NbdStatus[] = [];
  for (let at = 4; at < data.length; at += 8) stretches.push({ length: data.readUInt32BE(at), flags: data.readUInt32BE(at + 4) });
  return stretches;
}

/** @param data the payload of an error chunk @returns the error number */
export function parseChunkError(data: Buffer): number {
  return data.length < 4 ? 0 : data.readUInt32BE(0);
}

/** The protocol's error numbers, which equal those of Linux. */
const ERRORS: ReadonlyMap<number, readonly [name: string, text: string]> = new Map([
  [1, ['EPERM', 'Operation not permitted']],
  [5, ['EIO', 'Input/output error']],
  [12, ['ENOMEM', 'Cannot allocate memory']],
  [22, ['EINVAL', 'Invalid argument']],
  [28, ['ENOSPC', 'No space left on device']],
  [75, ['EOVERFLOW', 'Value too large for defined data type']],
  [95, ['ENOTSUP', 'Operation not supported']],
  [108, ['ESHUTDOWN', 'The server is shutting down']],
]);

/** Describes a server's error. @returns its name, and the text that system tools use for it */
export function nbdError(error: number): { readonly name: string; readonly text: string } {
  const [name, text] = ERRORS.get(error) ?? ['EINVAL', `Error ${error}`];
  return { name, text };
}
