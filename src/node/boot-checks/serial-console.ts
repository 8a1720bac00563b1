import { createConnection, type Socket } from 'node:net';

/** A guest's output may be endless; only its beginning and end are kept. */
const HEAD_BYTES = 64 * 1024;
const TAIL_BYTES = 192 * 1024;
const CONNECT_MS = 10_000;
/** Colours and cursor movements, which may occur within a text. */
// oxlint-disable-next-line no-control-regex -- it is about control characters
const ESCAPES = /\u001b\[[0-?]*[ -/]*[@-~]/g;

/** Output of a guest's serial line, read from the socket that qemu listens on. */
export class SerialConsole {
  private head = Buffer.alloc(0);
  private tail = Buffer.alloc(0);
  private skipped = 0;
  private recent = '';
  private found = false;
  private readonly ended = Promise.withResolvers<undefined>();

  private constructor(
    private readonly socket: Socket,
    private readonly wanted: string | null,
  ) {
    socket.on('data', (bytes) => this.take(bytes));
    socket.on('error', () => undefined);
    socket.on('close', () => this.ended.resolve(undefined));
  }

  /** wanted: the text that `hasShownIt` looks for. @throws Error if nothing listens on the path */
  static async open(path: string, wanted: string | null): Promise<SerialConsole> {
    const socket = createConnection(path);
    const console = new SerialConsole(socket, wanted);
    const connected = Promise.withResolvers<undefined>();
    socket.once('connect', () => connected.resolve(undefined));
    socket.once('error', (error) => connected.reject(error));
    socket.setTimeout(CONNECT_MS, () => connected.reject(new Error(`nothing answers at ${path}`)));
    try {
      await connected.promise;
    } catch (error) {
      socket.destroy();
      throw error;
    }
    socket.setTimeout(0);
    return console;
  }

  /** Whether the wanted text has appeared. */
  hasShownIt(): boolean {
    return this.found;
  }

  /** Resolves when qemu has closed the line, so that all of the guest's output has been read. */
  async closed(): Promise<void> {
    await this.ended.promise;
  }

  close(): void {
    this.socket.destroy();
  }

  content(): Buffer {
    if (this.skipped === 0) return Buffer.concat([this.head, this.tail]);
    return Buffer.concat([this.head, Buffer.from(`\n[... ${this.skipped} bytes left out ...]\n`), this.tail]);
  }

  private take(bytes: Buffer): void {
    const room = Math.max(0, HEAD_BYTES - this.head.length);
    this.head = Buffer.concat([this.head, bytes.subarray(0, room)]);
    const rest = Buffer.concat([this.tail, bytes.subarray(room)]);
    const over = Math.max(0, rest.length - TAIL_BYTES);
    this.skipped += over;
    this.tail = rest.subarray(over);
    if (this.wanted === null || this.found) return;
    this.recent += bytes.toString('utf8');
    this.found = this.recent.replaceAll(ESCAPES, '').includes(this.wanted);
    // Long enough for the text with escape sequences between all of its characters.
    this.recent = this.recent.slice(-16 * (this.wanted.length + 16));
  }
}
