import type { ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { PassThrough, type Readable, type Writable } from 'node:stream';
import { BrowserError, type StreamFailure } from './guest-browser/browser-protocol.js';

const LOOK_MS = 1_000;
const KEPT_STDERR = 8192;

export type StreamProcess = ChildProcessByStdio<null, Readable, Readable>;

/** A stream of guest bytes from a dedicated process, which ends with the stream. */
export class GuestStream {
  private said = '';
  private stalled = false;
  /** Whether sendTo() has been called. */
  private sending = false;
  private sent = 0;
  /** Buffers bytes until they are read: when a child exits, Node drains output without a listener, and it would be lost. */
  private readonly output = new PassThrough();
  /** null: the process succeeded, so the output is complete. */
  private readonly ended: Promise<BrowserError | null>;
  private readonly timer: NodeJS.Timeout;

  /** @param stallMs a stream that delivers nothing for this long while it is being read is abandoned */
  constructor(
    private readonly child: StreamProcess,
    stallMs: number,
  ) {
    child.stdout.once('error', () => this.output.destroy());
    child.stdout.once('close', () => {
      if (!this.output.writableEnded) this.output.destroy();
    });
    child.stdout.pipe(this.output);
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.said = (this.said + text).slice(-KEPT_STDERR)));
    this.ended = new Promise((resolve) => {
      child.once('error', (error) => resolve(new BrowserError('mount_gone', error.message)));
      // `close` is emitted when all of its output is read.
      child.once('exit', (code) => {
        clearInterval(this.timer);
        if (code === 0) resolve(null);
        else if (child.stderr.readableEnded || child.stderr.destroyed) resolve(this.failure());
        else child.stderr.once('close', () => resolve(this.failure()));
      });
    });
    let seen = -1;
    let quietSince = performance.now();
    this.timer = setInterval(() => {
      const { readableLength, readableFlowing } = this.output;
      const read = Number(Reflect.get(child.stdout, 'bytesRead'));
      // A paused reader stalls the stream itself; that does not count.
      if (readableLength > 0 || (this.sending && readableFlowing === false) || read !== seen) quietSince = performance.now();
      seen = read;
      if (performance.now() - quietSince > stallMs) {
        this.stalled = true;
        this.destroy();
      }
    }, LOOK_MS).unref();
  }

  /** Bytes passed to the sink. */
  get sentBytes(): number {
    return this.sent;
  }

  /** Resolves when the first bytes are available, or the process has succeeded without output. @throws BrowserError */
  async begun(): Promise<void> {
    const { output } = this;
    await Promise.race([once(output, 'readable'), once(output, 'end'), this.ended]);
    if (output.readableLength > 0) return;
    const failure = await this.ended;
    if (failure !== null) throw failure;
  }

  /**
   * Writes all bytes and ends the sink. If the stream is incomplete or the sink closes, both are destroyed, so that a part is never mistaken for the whole.
   * @returns the failure; null: everything was sent, or the reader went away
   */
  async sendTo(sink: Writable): Promise<BrowserError | null> {
    const { output } = this;
    const gone = new Promise<'gone'>((resolve) => sink.once('close', () => resolve('gone')));
    if (sink.destroyed) {
      this.destroy();
      return null;
    }
    const read = new Promise<'read'>((resolve) => {
      output.once('end', () => resolve('read'));
      output.once('error', () => resolve('read'));
      output.once('close', () => resolve('read'));
    });
    this.sending = true;
    output.on('data', (chunk: Buffer) => (this.sent += chunk.length));
    output.pipe(sink, { end: false });
    if ((await Promise.race([read, gone])) === 'gone') {
      this.destroy();
      return null;
    }
    const failure = await this.ended;
    if (failure === null) {
      sink.end();
      return null;
    }
    sink.destroy();
    return failure;
  }

  destroy(): void {
    clearInterval(this.timer);
    this.child.kill('SIGKILL');
    this.child.stdout.destroy();
    this.child.stderr.destroy();
    this.output.destroy();
  }

  private failure(): BrowserError {
    if (this.stalled) return silence();
    const line = this.said.trim().split('\n').at(-1) ?? '';
    try {
      const failure = JSON.parse(line) as StreamFailure; // written by browser.process
      return new BrowserError(failure.code, failure.message);
    } catch {
      return new BrowserError('mount_gone', `the process that reads this mount ended unexpectedly: ${line.slice(0, 500)}`);
    }
  }
}

export function silence(): BrowserError {
  return new BrowserError('mount_silent', 'the mounted file system does not answer; the request was abandoned', true);
}
