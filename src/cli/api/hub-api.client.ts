import { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { Ids } from '../../lib/clock/clock.js';

const DEADLINE_MS = 20_000;
const POLL_MS = 200;

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** The hub refused a request, or something else answered. The message is the problem's detail. */
export class HubRefusalError extends Error {
  override readonly name = 'HubRefusalError';
  constructor(
    readonly status: number,
    /** `unknown`: the answer is not a problem of a hub. */
    readonly code: string,
    detail: string,
  ) {
    super(detail);
  }
}

/** An instant of the past that queries are asked about. */
export interface Past {
  /** Time or position. */
  readonly asOf: string;
  /** Called once, with what the first answer stands for. */
  readonly onAnswer: (instant: { readonly time: string; readonly position: string | null }) => void;
}

/** A successful answer of the hub. */
interface Answer {
  readonly text: string;
  readonly headers: Headers;
}

export interface Wait {
  readonly patienceMs: number;
  readonly signal?: AbortSignal;
}

/** The running hub through its public API. */
export class HubApi {
  private isPastShown = false;

  constructor(
    /** Without a trailing slash. */
    readonly url: string,
    private readonly token: string | null,
    private readonly past: Past | null = null,
  ) {}

  get hasToken(): boolean {
    return this.token !== null;
  }

  /**
   * The type parameter is the shape of the answer in the hub's API document. A POST whose answer is lost is sent once more under the same idempotency key.
   * @throws HubRefusalError for any unsuccessful answer; Error with the cause when nothing answers
   */
  async call<Body = unknown>(method: Method, path: string, body?: object, deadlineMs = DEADLINE_MS): Promise<Body> {
    return parsedOrNull((await this.answerTo(method, path, body, deadlineMs)).text) as Body;
  }

  /** What the hub answers to a query, in whatever format. Errors as in `call`. */
  async read(path: string, deadlineMs = DEADLINE_MS): Promise<Answer> {
    return this.answerTo('GET', path, undefined, deadlineMs);
  }

  /**
   * The body of an answer, as it arrives. It ends with an error if the connection breaks off, or nothing arrives for five minutes (the default of fetch).
   * Errors as in `call`.
   */
  async download(path: string): Promise<Readable> {
    let response;
    try {
      response = await fetch(`${this.url}/api/v1${path}`, { headers: this.authorization() });
    } catch (error) {
      throw this.noAnswer(reasonOf(error), error);
    }
    if (!response.ok) throw refusalOf(response.status, await response.text());
    return response.body === null ? Readable.from([]) : Readable.fromWeb(response.body);
  }

  private async answerTo(method: Method, path: string, body: object | undefined, deadlineMs: number): Promise<Answer> {
    const request = {
      method,
      headers: {
        ...this.authorization(),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(method === 'POST' ? { 'idempotency-key': new Ids().next() } : {}),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(deadlineMs),
    };
    const send = async (): Promise<{ ok: boolean; status: number; headers: Headers; text: string }> => {
      const response = await fetch(`${this.url}/api/v1${method === 'GET' ? this.pathAsOf(path) : path}`, request);
      return { ok: response.ok, status: response.status, headers: response.headers, text: await response.text() };
    };
    let answer;
    try {
      answer = await send().catch((error: unknown) => {
        if (method !== 'POST' || request.signal.aborted) throw error;
        return send();
      });
    } catch (error) {
      const reason = request.signal.aborted ? `no answer within ${deadlineMs / 1000} s` : reasonOf(error);
      throw this.noAnswer(reason, error);
    }
    const { ok, status, headers, text } = answer;
    if (!ok) throw refusalOf(status, text);
    this.showPast(headers);
    return { text, headers };
  }

  private authorization(): Readonly<Record<string, string>> {
    return this.token === null ? {} : { authorization: `Bearer ${this.token}` };
  }

  private noAnswer(reason: string, cause: unknown): Error {
    return new Error(`nothing answers at ${this.url}: ${reason}`, { cause });
  }

  private pathAsOf(path: string): string {
    return this.past === null ? path : `${path}${path.includes('?') ? '&' : '?'}as_of=${encodeURIComponent(this.past.asOf)}`;
  }

  private showPast(headers: Headers): void {
    const time = headers.get('as-of-time');
    if (this.past === null || time === null || this.isPastShown) return;
    this.isPastShown = true;
    this.past.onAnswer({ time, position: headers.get('as-of-position') });
  }

  /**
   * Reads the path again and again until it shows the end of some work.
   * @throws Error after the patience; what hasEnded and call throw; the signal's reason
   */
  async until<Body>(path: string, hasEnded: (body: Body) => boolean, { patienceMs, signal }: Wait): Promise<Body> {
    for (const ends = performance.now() + patienceMs; ;) {
      const body = await this.call<Body>('GET', path);
      if (hasEnded(body)) return body;
      if (performance.now() > ends) throw new Error(`GET ${path} does not show an end after ${patienceMs / 1000} s`);
      await pause(POLL_MS, undefined, { signal });
    }
  }
}

/** The cause of a failed fetch; fetch's own message only says that it failed. */
export function reasonOf(error: unknown): string {
  const cause: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'cause') : null;
  return member(cause, 'message') ?? member(error, 'message') ?? String(error);
}

function refusalOf(status: number, text: string): HubRefusalError {
  const problem = parsedOrNull(text);
  return new HubRefusalError(status, member(problem, 'code') ?? 'unknown', member(problem, 'detail') ?? `status ${status}: ${text.slice(0, 300)}`);
}

function parsedOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** null: there is no such text. */
function member(of: unknown, name: string): string | null {
  const value: unknown = typeof of === 'object' && of !== null ? Reflect.get(of, name) : null;
  return typeof value === 'string' && value !== '' ? value : null;
}
