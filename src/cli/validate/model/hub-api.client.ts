const DEADLINE_MS = 20_000;

export interface HubAnswer<Body> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Body;
}

/** The hub refused a request, or something else answered. */
export class HubRefusalError extends Error {
  override readonly name = 'HubRefusalError';
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
  ) {
    super(detail);
  }
}

/** The running hub through its public API. */
export class HubApi {
  constructor(
    /** Without a trailing slash. */
    readonly url: string,
    private readonly token: string | null,
  ) {}

  get hasToken(): boolean {
    return this.token !== null;
  }

  /**
   * The type parameter is the body's shape from the hub's API document.
   * @throws HubRefusalError for any unsuccessful response; Error with the cause when nothing answers
   */
  async call<Body>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object, deadlineMs = DEADLINE_MS): Promise<HubAnswer<Body>> {
    let response: Response;
    let text: string;
    try {
      response = await fetch(`${this.url}/api/v1${path}`, {
        method,
        headers: {
          ...(this.token === null ? {} : { authorization: `Bearer ${this.token}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(deadlineMs),
      });
      text = await response.text();
    } catch (error) {
      throw new Error(`nothing answers at ${this.url}: ${reasonOf(error)}`, { cause: error });
    }
    const parsed = parsedOrNull(text);
    if (!response.ok) throw new HubRefusalError(response.status, member(parsed, 'code') ?? 'unknown', member(parsed, 'detail') ?? text.slice(0, 300));
    return { status: response.status, headers: response.headers, body: parsed as Body };
  }
}

/** The cause of a failed fetch; fetch's own message only says that it failed. */
export function reasonOf(error: unknown): string {
  const cause = messageIn(typeof error === 'object' && error !== null ? Reflect.get(error, 'cause') : null);
  return cause ?? messageIn(error) ?? String(error);
}

function messageIn(error: unknown): string | null {
  const message: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'message') : null;
  return typeof message === 'string' && message !== '' ? message : null;
}

function parsedOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function member(body: unknown, name: 'code' | 'detail'): string | null {
  if (typeof body !== 'object' || body === null) return null;
  const value: unknown = Reflect.get(body, name);
  return typeof value === 'string' ? value : null;
}
