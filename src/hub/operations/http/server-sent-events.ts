import type { Request, Response } from 'express';
import type { JsonValue } from '../../../kernel/json.js';

export interface ServerSentEvent {
  /** Returned as Last-Event-ID when the client reconnects. */
  readonly id?: string;
  readonly event?: string;
  readonly data: JsonValue;
}

export interface EventStreamOptions {
  /** Interval of keep-alive comments on an idle stream, in milliseconds. Default 15 s. */
  readonly keepAliveMs?: number;
  /** How long a client may leave sent data unread before it is disconnected, in milliseconds. Default 60 s. */
  readonly stalledMs?: number;
}

const DEFAULT_KEEP_ALIVE_MS = 15_000;
const DEFAULT_STALLED_MS = 60_000;

/**
 * A response of type `text/event-stream`. Await each `send`: it returns once the client has taken the previous data, so a slow client slows its producer
 * down instead of filling memory. `signal` is aborted when the stream ends, whichever side ended it.
 */
export class EventStream {
  private readonly over = new AbortController();
  private readonly keepAlive: NodeJS.Timeout;
  private readonly stalledMs: number;
  /** Serializes sends, so that events leave in the order of the calls. */
  private tail: Promise<unknown> = Promise.resolve();

  constructor(
    request: Request,
    private readonly response: Response,
    options: EventStreamOptions = {},
  ) {
    this.stalledMs = options.stalledMs ?? DEFAULT_STALLED_MS;
    response.status(200).set({ 'Content-Type': 'text/event-stream; charset=utf-8', 'Cache-Control': 'no-store', 'X-Accel-Buffering': 'no' });
    response.flushHeaders();
    request.socket.setNoDelay(true);
    this.keepAlive = setInterval(() => {
      if (!response.writableNeedDrain) response.write(': keep-alive\n\n');
    }, options.keepAliveMs ?? DEFAULT_KEEP_ALIVE_MS);
    this.keepAlive.unref();
    response.once('close', () => {
      this.finish();
    });
    response.on('error', () => {
      this.finish();
    });
    if (response.destroyed || request.socket.destroyed) this.finish();
  }

  /** Aborted once the client has disconnected or the stream was ended. */
  get signal(): AbortSignal {
    return this.over.signal;
  }

  /**
   * @returns false if the stream has ended and the event was not sent
   * @throws Error for an id or event name with a line break or NUL, which the format cannot represent
   */
  async send(event: ServerSentEvent): Promise<boolean> {
    const text = frame(event);
    const sent = this.tail.then(() => this.write(text));
    this.tail = sent;
    return sent;
  }

  /** Ends the stream after the data sent so far. */
  async end(): Promise<void> {
    await this.tail;
    if (this.signal.aborted) return;
    this.finish();
    this.response.end();
  }

  private async write(text: string): Promise<boolean> {
    if (this.signal.aborted) return false;
    if (!this.response.write(text)) await this.drained();
    return !this.signal.aborted;
  }

  private async drained(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const done = (): void => {
      resolve(undefined);
    };
    const stalled = setTimeout(() => {
      this.response.destroy();
    }, this.stalledMs);
    this.response.once('drain', done);
    this.signal.addEventListener('abort', done, { once: true });
    await promise;
    clearTimeout(stalled);
    this.response.off('drain', done);
    this.signal.removeEventListener('abort', done);
  }

  private finish(): void {
    clearInterval(this.keepAlive);
    this.over.abort();
  }
}

/** Id of the last event a reconnecting client received; null for a new client. */
export function lastEventIdOf(request: Request): string | null {
  const id = request.headers['last-event-id'];
  return typeof id === 'string' && id !== '' && id.length <= 200 ? id : null;
}

/** Whether a client asks for an event stream rather than for JSON. */
export function wantsEventStream(request: Request): boolean {
  return request.accepts(['application/json', 'text/event-stream']) === 'text/event-stream';
}

function frame(event: ServerSentEvent): string {
  const lines: string[] = [];
  if (event.id !== undefined) lines.push(`id: ${oneLine(event.id)}`);
  if (event.event !== undefined) lines.push(`event: ${oneLine(event.event)}`);
  // JSON has no raw line breaks, so the data is one line.
  lines.push(`data: ${JSON.stringify(event.data)}`);
  return `${lines.join('\n')}\n\n`;
}

function oneLine(text: string): string {
  if (/[\r\n\0]/.test(text)) throw new Error('an id or name of a server-sent event must not contain line breaks or NUL');
  return text;
}
