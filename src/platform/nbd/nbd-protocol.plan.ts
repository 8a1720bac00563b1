/** The transmission phase of the NBD protocol with simple replies (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md). */

const REQUEST_MAGIC = 0x25609513;
const SIMPLE_REPLY_MAGIC = 0x67446698;

export const NBD_COMMANDS = { read: 0, write: 1, disconnect: 2, writeZeroes: 6 } as const;
export type NbdCommand = keyof typeof NBD_COMMANDS;

/** Of the export's transmission flags. */
export const NBD_READ_ONLY = 2;
export const NBD_HAS_WRITE_ZEROES = 64;

export const REQUEST_BYTES = 28;
export const REPLY_BYTES = 16;
/** A cookie that tells an answer's request has 64 bits on the wire, of which this many are used. */
export const COOKIE_BITS = 32;

export interface NbdRequest {
  readonly command: NbdCommand;
  /** Given back in the reply; less than 2 ** COOKIE_BITS. */
  readonly cookie: number;
  /** Bytes. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
}

/** @returns the header, behind which the data of a write follow */
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

/** @param header REPLY_BYTES bytes @returns null when they are no simple reply to a request of ours */
export function parseReply(header: Buffer): NbdReply | null {
  if (header.readUInt32BE(0) !== SIMPLE_REPLY_MAGIC || header.readUInt32BE(8) !== 0) return null;
  return { cookie: header.readUInt32BE(12), error: header.readUInt32BE(4) };
}

/** The protocol's own numbers, which are those of Linux. */
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

/** What a server has answered to a request. @returns name, and the words in which the tools of the system say it */
export function nbdError(error: number): { readonly name: string; readonly text: string } {
  const [name, text] = ERRORS.get(error) ?? ['EINVAL', `Error ${error}`];
  return { name, text };
}
