const NBDMAGIC = 0x4e42444d41474943n;
const IHAVEOPT = 0x49484156454f5054n;
const REPLY_MAGIC = 0x3e889045565a9n;
/** Handshake flags, of server and client alike: fixed newstyle, no zeroes. */
const FIXED_NEWSTYLE = 1;
const NO_ZEROES = 2;
const OPTIONS = { abort: 2, startTls: 5, info: 6, go: 7, structuredReply: 8, setMetaContext: 10 } as const;
const REP_ACK = 1;
const REP_INFO = 3;
const REP_META_CONTEXT = 4;
const INFO_EXPORT = 0;
/** Upper bound for a plausible reply, in bytes. */
const MAX_REPLY = 64 * 1024;

/** The peer is not an NBD server, or has no export of that name. */
export class NbdHandshakeRefusedError extends Error {
  override readonly name = 'NbdHandshakeRefusedError';
}

export interface NbdExportInfo {
  /** Bytes. */
  readonly size: number;
  /** Transmission flags of the protocol. */
  readonly flags: number;
}

/**
 * Negotiates with a server in fixed newstyle. `info` queries the export and disconnects without opening it, which costs a server next to nothing; `go` opens it
 * and enters transmission with simple replies.
 * @param greeted greet() was called before
 * @throws NbdHandshakeRefusedError, or the error that ended the stream
 */
export async function negotiate(
  incoming: IncomingBytes,
  send: (bytes: Buffer) => void,
  exportName: string,
  want: 'info' | 'go',
  greeted = false,
): Promise<NbdExportInfo> {
  const clientFlags = greeted ? Buffer.alloc(0) : await greet(incoming);
  send(Buffer.concat([clientFlags, option(want, exportQuestion(exportName))]));
  const info = await exportInfo(incoming, exportName);
  if (want === 'info') send(option('abort', Buffer.alloc(0)));
  return info;
}

/**
 * Opens an export for block status requests in one context, such as `base:allocation`, and enters transmission with structured replies.
 * @throws NbdHandshakeRefusedError, also when the export has no such context; or the error that ended the stream
 */
export async function negotiateContext(
  incoming: IncomingBytes,
  send: (bytes: Buffer) => void,
  exportName: string,
  context: string,
  greeted = false,
): Promise<{ readonly size: number; readonly contextId: number }> {
  const clientFlags = greeted ? Buffer.alloc(0) : await greet(incoming);
  send(Buffer.concat([clientFlags, option('structuredReply', Buffer.alloc(0))]));
  for await (const _reply of repliesUntilAck(incoming, exportName)) throw new NbdHandshakeRefusedError('the server sent an unrequested answer');
  send(option('setMetaContext', Buffer.concat([lengthAndText(exportName), uint32(1), lengthAndText(context)])));
  let contextId: number | null = null;
  for await (const { type, data } of repliesUntilAck(incoming, exportName)) {
    if (type === REP_META_CONTEXT && data.length >= 4 && data.toString('utf8', 4) === context) contextId = data.readUInt32BE(0);
  }
  if (contextId === null) throw new NbdHandshakeRefusedError(`export "${exportName}" has no "${context}"`);
  send(option('go', exportQuestion(exportName)));
  return { size: (await exportInfo(incoming, exportName)).size, contextId };
}

/**
 * Requests TLS after the client's flags. Once it resolves, the next byte belongs to TLS. @throws NbdHandshakeRefusedError when the server does not support TLS,
 * or sends extra data
 */
export async function startTls(incoming: IncomingBytes, send: (bytes: Buffer) => void): Promise<void> {
  send(option('startTls', Buffer.alloc(0)));
  for await (const _reply of repliesUntilAck(incoming, '')) throw new NbdHandshakeRefusedError('the server sent an unrequested answer');
  // Data sent in the clear before TLS must not be mistaken for protected data.
  if (incoming.length > 0) throw new NbdHandshakeRefusedError('the server sent data before the TLS handshake');
}

/** @returns the client flags that answer the server's greeting */
export async function greet(incoming: IncomingBytes): Promise<Buffer> {
  const greeting = await incoming.take(18);
  if (greeting.readBigUInt64BE(0) !== NBDMAGIC || greeting.readBigUInt64BE(8) !== IHAVEOPT) throw new NbdHandshakeRefusedError('not an NBD server');
  return uint32(greeting.readUInt16BE(16) & (FIXED_NEWSTYLE | NO_ZEROES));
}

async function exportInfo(incoming: IncomingBytes, exportName: string): Promise<NbdExportInfo> {
  let info: NbdExportInfo | null = null;
  for await (const { type, data } of repliesUntilAck(incoming, exportName)) {
    if (type === REP_INFO && data.length >= 12 && data.readUInt16BE(0) === INFO_EXPORT) {
      info = { size: Number(data.readBigUInt64BE(2)), flags: data.readUInt16BE(10) };
    }
  }
  if (info === null) throw new NbdHandshakeRefusedError(`the server did not report the size of export "${exportName}"`);
  return info;
}

/** The replies to one option, without the final acknowledgement. */
async function* repliesUntilAck(incoming: IncomingBytes, exportName: string): AsyncGenerator<{ readonly type: number; readonly data: Buffer }> {
  for (;;) {
    const header = await incoming.take(20);
    if (header.readBigUInt64BE(0) !== REPLY_MAGIC) throw new NbdHandshakeRefusedError('not an NBD server: its reply makes no sense');
    const type = header.readUInt32BE(12);
    const length = header.readUInt32BE(16);
    if (length > MAX_REPLY) throw new NbdHandshakeRefusedError(`a reply of ${length} bytes makes no sense`);
    const data = await incoming.take(length);
    if (type === REP_ACK) return;
    if (type !== REP_INFO && type !== REP_META_CONTEXT) {
      throw new NbdHandshakeRefusedError(`export "${exportName}" was refused (reply ${type.toString(16)}): ${data.toString('utf8')}`);
    }
    yield { type, data };
  }
}

/** The name, followed by zero information requests. */
function exportQuestion(exportName: string): Buffer {
  return Buffer.concat([lengthAndText(exportName), Buffer.alloc(2)]);
}

function lengthAndText(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  return Buffer.concat([uint32(bytes.length), bytes]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function option(which: keyof typeof OPTIONS, data: Buffer): Buffer {
  const header = Buffer.alloc(16);
  header.writeBigUInt64BE(IHAVEOPT, 0);
  header.writeUInt32BE(OPTIONS[which], 8);
  header.writeUInt32BE(data.length, 12);
  return Buffer.concat([header, data]);
}

/** Returns bytes in pieces of exact length, independent of network packets. */
export class IncomingBytes {
  private held = Buffer.alloc(0);
  private ended: Error | null = null;
  private wake: () => void = () => undefined;

  push(bytes: Buffer): void {
    this.held = Buffer.concat([this.held, bytes]);
    this.wake();
  }

  /** Bytes not taken yet. */
  get length(): number {
    return this.held.length;
  }

  /** Ends the stream. The first reason counts. */
  end(error: Error): void {
    this.ended ??= error;
    this.wake();
  }

  /** @throws the reason of the end when the stream ends first */
  async take(length: number): Promise<Buffer> {
    while (this.held.length < length) {
      if (this.ended !== null) throw this.ended;
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
    const piece = this.held.subarray(0, length);
    this.held = this.held.subarray(length);
    return piece;
  }
}
