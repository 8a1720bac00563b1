import type { Socket } from 'node:net';
import { IncomingBytes, NbdHandshakeRefusedError, type NbdExportInfo, negotiate } from '../../lib/nbd/nbd-negotiation.js';
import {
  COOKIE_BITS,
  NBD_HAS_WRITE_ZEROES,
  NBD_READ_ONLY,
  type NbdCommand,
  nbdError,
  parseReply,
  REPLY_BYTES,
  requestHeader,
} from '../../lib/nbd/nbd-protocol.plan.js';
import { openNbdSocket } from '../../lib/nbd/nbd-socket.js';
import type { NbdAddress } from '../../lib/nbd/nbd-uri.js';

const KEEPALIVE_AFTER_MS = 15_000;
/** For the negotiation only; transmitted data is read directly into its destination. */
const SCRATCH_BYTES = 4096;

/** The server answered a request with an error. */
export class NbdReplyError extends Error {
  override readonly name = 'NbdReplyError';

  /** @param errorName such as ENOSPC */
  constructor(
    readonly errorName: string,
    text: string,
  ) {
    super(text);
  }
}

/** The connection has ended, so the outcome of the request is unknown. */
export class NbdConnectionLostError extends Error {
  override readonly name = 'NbdConnectionLostError';
}

interface Pending {
  readonly into: Buffer | null;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * One connection to an NBD server, with any number of requests in progress. Reads fill the caller's buffer without a copy; written data must not be changed
 * before the request is answered. Requests are rejected with NbdReplyError or NbdConnectionLostError.
 */
export class NbdConnection {
  private readonly pending = new Map<number, Pending>();
  private nextCookie = 0;
  private corked = false;
  private readonly incoming = new IncomingBytes();
  private info: NbdExportInfo | null = null;
  /** Destination of the next bytes: a reply's header, or the data of a read. */
  private readonly header = Buffer.allocUnsafeSlow(REPLY_BYTES);
  private place: Buffer = this.header;
  private filled = 0;
  private reading: Pending | null = null;
  /** The buffer that the socket is filling. */
  private offered: Buffer;
  private heard = performance.now();
  private readonly end = Promise.withResolvers<Error>();

  private constructor(
    private readonly socket: Socket,
    private readonly scratch: Buffer,
  ) {
    this.offered = scratch;
    this.socket.setKeepAlive(true, KEEPALIVE_AFTER_MS);
    this.socket.on('error', (error) => this.lost(error));
    this.socket.once('close', () => this.lost(new Error('the server closed the connection')));
  }

  /**
   * @param signal ends the attempt; ignored afterwards
   * @throws NbdHandshakeRefusedError, a system error such as ECONNREFUSED, or the signal's reason
   */
  static async open(address: NbdAddress, exportName: string, signal: AbortSignal): Promise<NbdConnection> {
    signal.throwIfAborted();
    const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
    let opened: NbdConnection | null = null;
    const { socket, greeted } = await openNbdSocket(address, signal, {
      buffer: () => opened?.room() ?? scratch,
      callback: (bytes) => {
        opened?.arrived(bytes);
        return true;
      },
    });
    const connection = new NbdConnection(socket, scratch);
    opened = connection;
    if (address.keyFile !== undefined) socket.on('data', (bytes: Buffer) => connection.decrypted(bytes));
    const abort = (): void => connection.lost(signal.reason as Error); // an abort reason is whatever the caller chose to throw
    signal.addEventListener('abort', abort);
    try {
      connection.info = await negotiate(connection.incoming, (bytes) => connection.socket.write(bytes), exportName, 'go', greeted);
      return connection;
    } catch (error) {
      connection.socket.destroy();
      throw error;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** Size of the export, in bytes. */
  get size(): number {
    return this.exportInfo().size;
  }

  get readOnly(): boolean {
    return (this.exportInfo().flags & NBD_READ_ONLY) !== 0;
  }

  get canWriteZeroes(): boolean {
    return (this.exportInfo().flags & NBD_HAS_WRITE_ZEROES) !== 0;
  }

  /** performance.now() of the last received data. */
  get heardAtMs(): number {
    return this.heard;
  }

  /** Number of unanswered requests. */
  get underWay(): number {
    return this.pending.size;
  }

  /** Resolves with the reason when the connection has ended, on either side. */
  get ended(): Promise<Error> {
    return this.end.promise;
  }

  /** Fills the buffer, which must not be empty. */
  read(offset: number, into: Buffer): Promise<void> {
    return this.request('read', offset, into.length, null, into);
  }

  write(offset: number, bytes: Buffer): Promise<void> {
    return this.request('write', offset, bytes.length, bytes, null);
  }

  /** The range reads as zeroes afterwards, whatever a backing file holds. The server may free the space. */
  writeZeroes(offset: number, length: number): Promise<void> {
    return this.request('writeZeroes', offset, length, null, null);
  }

  /** Disconnects from the server; only when no request is in progress. */
  close(): void {
    this.socket.end(requestHeader({ command: 'disconnect', cookie: 0, offset: 0, length: 0 }), () => this.socket.destroy());
    this.lost(new Error('closed'));
  }

  /** Ends the connection immediately. */
  destroy(): void {
    this.socket.destroy();
    this.lost(new Error('the client closed the connection'));
  }

  private exportInfo(): NbdExportInfo {
    if (this.info === null) throw new Error('not negotiated yet');
    return this.info;
  }

  private request(command: NbdCommand, offset: number, length: number, data: Buffer | null, into: Buffer | null): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.socket.destroyed) {
        this.lost(this.socket.errored ?? new Error('the connection has ended'));
        reject(new NbdConnectionLostError('the connection has ended'));
        return;
      }
      const cookie = this.nextCookie;
      this.nextCookie = (cookie + 1) % 2 ** COOKIE_BITS;
      this.pending.set(cookie, { into, resolve, reject });
      this.cork();
      this.socket.write(requestHeader({ command, cookie, offset, length }));
      if (data !== null) this.socket.write(data);
    });
  }

  /** Sends all requests made in one tick with a single system call. */
  private cork(): void {
    if (this.corked) return;
    this.corked = true;
    this.socket.cork();
    process.nextTick(() => {
      this.corked = false;
      this.socket.uncork();
    });
  }

  /** Destination of the next bytes. */
  private room(): Buffer {
    this.offered = this.info === null ? this.scratch : this.place.subarray(this.filled);
    return this.offered;
  }

  private arrived(bytes: number): void {
    this.heard = performance.now();
    const { offered } = this;
    if (this.info === null) {
      this.incoming.push(Buffer.from(offered.subarray(0, bytes)));
    } else if (offered === this.scratch) {
      this.consume(offered.subarray(0, bytes));
    } else {
      this.advance(bytes);
    }
  }

  /** Processes bytes that did not arrive at their destination, such as the first ones after the negotiation. */
  private consume(bytes: Buffer): void {
    for (let at = 0; at < bytes.length && !this.socket.destroyed;) {
      const copied = bytes.copy(this.place, this.filled, at);
      at += copied;
      this.advance(copied);
    }
  }

  /** TLS delivers data in its own memory. */
  private decrypted(bytes: Buffer): void {
    this.heard = performance.now();
    if (this.info === null) this.incoming.push(bytes);
    else this.consume(bytes);
  }

  private advance(bytes: number): void {
    this.filled += bytes;
    if (this.filled < this.place.length) return;
    this.filled = 0;
    if (this.reading === null) {
      this.answered();
    } else {
      this.reading.resolve();
      this.reading = null;
      this.place = this.header;
    }
  }

  private answered(): void {
    const reply = parseReply(this.header);
    const pending = reply === null ? undefined : this.pending.get(reply.cookie);
    if (reply === null || pending === undefined) {
      this.lost(new NbdHandshakeRefusedError('the server sent an answer without a request'));
      return;
    }
    this.pending.delete(reply.cookie);
    if (reply.error !== 0) {
      const { name, text } = nbdError(reply.error);
      pending.reject(new NbdReplyError(name, text));
    } else if (pending.into === null) {
      pending.resolve();
    } else {
      this.reading = pending;
      this.place = pending.into;
    }
  }

  private lost(cause: Error): void {
    this.incoming.end(cause);
    this.end.resolve(cause);
    if (!this.socket.writableEnded) this.socket.destroy();
    const unanswered = [...this.pending.values(), ...(this.reading === null ? [] : [this.reading])];
    this.pending.clear();
    this.reading = null;
    for (const { reject } of unanswered) reject(new NbdConnectionLostError(cause.message, { cause }));
  }
}
