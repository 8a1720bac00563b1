import { connect, type Socket } from 'node:net';
import type { NbdAddress } from './nbd-uri.js';

const NBDMAGIC = 0x4e42444d41474943n;
const IHAVEOPT = 0x49484156454f5054n;
const REPLY_MAGIC = 0x3e889045565a9n;
/** Handshake flags, of server and client alike: fixed newstyle, no zeroes. */
const FIXED_NEWSTYLE = 1;
const NO_ZEROES = 2;
const OPT_ABORT = 2;
const OPT_INFO = 6;
const REP_ACK = 1;
const REP_INFO = 3;
const INFO_EXPORT = 0;
/** The largest reply that makes sense here, in bytes. */
const MAX_REPLY = 64 * 1024;

/** Somebody answered, but is no NBD server, or has no export of that name. */
export class NbdHandshakeRefusedError extends Error {
  override readonly name = 'NbdHandshakeRefusedError';
}

/**
 * Negotiates as far as the size of an export and leaves again without opening it, which costs a server next to nothing.
 * @returns size in bytes
 * @throws NbdHandshakeRefusedError; a system error such as ECONNREFUSED; or the signal's reason
 */
export async function nbdHandshake(address: NbdAddress, exportName: string, signal: AbortSignal): Promise<number> {
  signal.throwIfAborted();
  const socket = 'socket' in address ? connect({ path: address.socket }) : connect({ host: address.host, port: address.port });
  const abort = (): void => void socket.destroy(signal.reason as Error); // an abort reason is whatever the caller chose to throw
  signal.addEventListener('abort', abort);
  try {
    return await negotiate(socket, exportName);
  } finally {
    signal.removeEventListener('abort', abort);
    socket.on('error', () => undefined);
    socket.destroySoon();
  }
}

async function negotiate(socket: Socket, exportName: string): Promise<number> {
  const incoming = new Incoming(socket);
  const greeting = await incoming.take(18);
  if (greeting.readBigUInt64BE(0) !== NBDMAGIC || greeting.readBigUInt64BE(8) !== IHAVEOPT) throw new NbdHandshakeRefusedError('not an NBD server');
  const serverFlags = greeting.readUInt16BE(16);
  const clientFlags = Buffer.alloc(4);
  clientFlags.writeUInt32BE(serverFlags & (FIXED_NEWSTYLE | NO_ZEROES));
  const name = Buffer.from(exportName, 'utf8');
  const question = Buffer.alloc(4 + name.length + 2);
  question.writeUInt32BE(name.length, 0);
  name.copy(question, 4);
  socket.write(Buffer.concat([clientFlags, option(OPT_INFO, question)]));

  let size: number | null = null;
  for (;;) {
    const header = await incoming.take(20);
    if (header.readBigUInt64BE(0) !== REPLY_MAGIC) throw new NbdHandshakeRefusedError('not an NBD server: its reply makes no sense');
    const type = header.readUInt32BE(12);
    const length = header.readUInt32BE(16);
    if (length > MAX_REPLY) throw new NbdHandshakeRefusedError(`a reply of ${length} bytes makes no sense`);
    const data = await incoming.take(length);
    if (type === REP_INFO && length >= 12 && data.readUInt16BE(0) === INFO_EXPORT) {
      size = Number(data.readBigUInt64BE(2));
    } else if (type === REP_ACK) {
      break;
    } else if (type !== REP_INFO) {
      throw new NbdHandshakeRefusedError(`export "${exportName}" was refused (reply ${type.toString(16)}): ${data.toString('utf8')}`);
    }
  }
  socket.write(option(OPT_ABORT, Buffer.alloc(0)));
  if (size === null) throw new NbdHandshakeRefusedError(`the server did not say how large export "${exportName}" is`);
  return size;
}

function option(number: number, data: Buffer): Buffer {
  const header = Buffer.alloc(16);
  header.writeBigUInt64BE(IHAVEOPT, 0);
  header.writeUInt32BE(number, 8);
  header.writeUInt32BE(data.length, 12);
  return Buffer.concat([header, data]);
}

/** Bytes in exact pieces, however the network cut them. */
class Incoming {
  private held = Buffer.alloc(0);
  private ended: Error | null = null;
  private wake: () => void = () => undefined;

  constructor(socket: Socket) {
    socket.on('data', (bytes) => {
      this.held = Buffer.concat([this.held, bytes]);
      this.wake();
    });
    socket.once('error', (error) => this.end(error));
    socket.once('close', () => this.end(new NbdHandshakeRefusedError('the server closed the connection')));
  }

  async take(length: number): Promise<Buffer> {
    while (this.held.length < length) {
      if (this.ended !== null) throw this.ended;
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
    const piece = this.held.subarray(0, length);
    this.held = this.held.subarray(length);
    return piece;
  }

  private end(error: Error): void {
    this.ended ??= error;
    this.wake();
  }
}
