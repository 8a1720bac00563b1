import { Agent, request as httpRequest } from 'node:http';
import pg from 'pg';
import { ApiContract, at, isList, type Json, type JsonMap } from '../support/api-contract.js';
import { until } from '../support/hub-system.js';
import type { FuzzWorld } from './fuzz-world.js';
import { KnownValues } from './known-values.js';
import { Pauses } from './pauses.js';
import { type FuzzRequest, RequestGenerator } from './request-generator.js';

/** An answer after more than this is a hang, unless the machine let nobody run. Streams are answered at once; `?after=` waits for five seconds. */
const HANG_MS = 10_000;
/** No answer for longer than this is a hang whatever the machine did. */
const LONGEST_MS = 60_000;
const MAX_READ = 2 * 1024 * 1024;
const UPKEEP_EVERY = 250;
const SAY_EVERY = 1_000;
const SETTLE_MS = 180_000;
const MAX_SHOWN_BODY = 1_500;

export interface FuzzOptions {
  readonly requests: number;
  readonly seed: number;
  /** Requests under way at once. */
  readonly workers: number;
  readonly say: (line: string) => void;
}

export interface FuzzReport {
  readonly requests: number;
  readonly statuses: Readonly<Record<string, number>>;
  readonly longestMs: number;
  /** Answers that came late while the machine had no time for this process either. */
  readonly excused: number;
  /** Operations of the document that never succeeded. */
  readonly neverSucceeded: readonly string[];
  readonly failures: readonly string[];
}

interface Answer {
  readonly status: number;
  readonly contentType: string | null;
  readonly body: string | null;
  readonly ms: number;
}

class ClosedConnectionError extends Error {}

/** Sends requests made from the OpenAPI document to a real hub and holds every answer against it, and the hub at the end against itself. */
export async function fuzz(world: FuzzWorld, options: FuzzOptions): Promise<FuzzReport> {
  const run = new FuzzRun(world, await documentOf(world), options);
  return run.carryOut();
}

class FuzzRun {
  private readonly contract: ApiContract;
  private readonly known = new KnownValues();
  private readonly generator: RequestGenerator;
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 64 });
  private readonly statuses = new Map<string, number>();
  /** Answers with their codes, by operation. */
  private readonly outcomes = new Map<string, Map<string, number>>();
  private readonly failures: string[] = [];
  private readonly pauses = new Pauses();
  private longestMs = 0;
  private excused = 0;
  private sent = 0;
  private next = 0;

  constructor(
    private readonly world: FuzzWorld,
    document: JsonMap,
    private readonly options: FuzzOptions,
  ) {
    this.contract = new ApiContract(document);
    this.generator = new RequestGenerator(this.contract, this.known, world.tokens, world.system.directory, options.seed);
  }

  async carryOut(): Promise<FuzzReport> {
    try {
      await this.world.upkeep(this.known);
      await Promise.all(Array.from({ length: this.options.workers }, () => this.work()));
      await this.world.settle(SETTLE_MS);
      this.failures.push(...(await this.differencesOfRebuilds()));
      const ready = await this.world.system.api<Json>('GET', '/health/ready');
      if (ready.status !== 200) this.failures.push(`the hub is not ready at the end: ${JSON.stringify(ready.body)}`);
    } finally {
      this.agent.destroy();
      this.pauses.stop();
    }
    const names = this.contract.operations.map(({ method, path }) => `${method} ${path}`);
    return {
      requests: this.sent,
      statuses: Object.fromEntries([...this.statuses].sort(([one], [other]) => one.localeCompare(other))),
      longestMs: Math.round(this.longestMs),
      excused: this.excused,
      neverSucceeded: names.flatMap((name) => {
        const outcomes = [...(this.outcomes.get(name) ?? [])];
        const shown = outcomes.map(([outcome, count]) => `${outcome} × ${count}`).join(', ');
        return outcomes.some(([outcome]) => /^[23]/.test(outcome)) ? [] : [`${name} (${shown || 'not asked for'})`];
      }),
      failures: this.failures,
    };
  }

  private async work(): Promise<void> {
    while (this.next < this.options.requests) {
      const index = this.next;
      const request = this.generator.make(index);
      const end = (this.next += request.times);
      if (isPassed(UPKEEP_EVERY, index, end)) await this.world.upkeep(this.known);
      const answers = await Promise.all(Array.from({ length: request.times }, () => this.send(request)));
      for (const answer of answers) this.judge(request, answer);
      if (request.times > 1) this.judgeTogether(request, answers);
      if (isPassed(SAY_EVERY, index, end)) this.options.say(`${end} of ${this.options.requests}, ${this.failures.length} failures`);
    }
  }

  private async send(request: FuzzRequest): Promise<Answer | Error> {
    const answer = await this.sendOnce(request);
    // A kept connection may be closed by the hub at the very moment of its use.
    return answer instanceof ClosedConnectionError ? this.sendOnce(request) : answer;
  }

  private sendOnce(request: FuzzRequest): Promise<Answer | Error> {
    const began = performance.now();
    const target = new URL(this.world.system.url());
    return new Promise((resolve) => {
      const finish = (status: number, contentType: string | null, body: string | null): void => {
        resolve({ status, contentType, body, ms: performance.now() - began });
      };
      let call: ReturnType<typeof httpRequest>;
      try {
        const { method, path, headers } = request;
        const length = request.body === null ? {} : { 'content-length': String(Buffer.byteLength(request.body)) };
        call = httpRequest({ host: target.hostname, port: target.port, method, path, headers: { ...headers, ...length }, agent: this.agent });
      } catch (error) {
        resolve(error instanceof Error ? error : new Error(String(error)));
        return;
      }
      call.setTimeout(LONGEST_MS, () => {
        call.destroy(new Error(`no answer within ${LONGEST_MS} ms`));
      });
      call.on('error', (error: NodeJS.ErrnoException) => {
        resolve(call.reusedSocket && error.code === 'ECONNRESET' ? new ClosedConnectionError(error.message) : error);
      });
      call.on('response', (response) => {
        const status = response.statusCode ?? 0;
        const contentType = response.headers['content-type'] ?? null;
        if (contentType?.startsWith('text/event-stream') === true) {
          response.destroy();
          finish(status, contentType, null);
          return;
        }
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          bytes += chunk.length;
          if (bytes > MAX_READ) {
            response.destroy();
            finish(status, contentType, null);
          }
        });
        response.on('end', () => {
          finish(status, contentType, Buffer.concat(chunks).toString('utf8'));
        });
        response.on('error', resolve);
      });
      call.end(request.body ?? undefined);
    });
  }

  private judge(request: FuzzRequest, answer: Answer | Error): void {
    this.sent += 1;
    if (answer instanceof Error) {
      this.count('none');
      this.fail(request, `no answer: ${answer.message}`, null);
      return;
    }
    const { status, contentType, body, ms } = answer;
    this.count(String(status));
    this.longestMs = Math.max(this.longestMs, ms);
    const { method, path } = request;
    const wrong = status === 500 ? 'an answer of 500' : method === 'OPTIONS' ? null : this.contract.mismatch({ method, path, status, contentType, body });
    if (wrong !== null) this.fail(request, wrong, answer);
    else if (ms > HANG_MS) this.judgeLate(request, answer);
    else if (request.mustBeRefused && status < 400) this.fail(request, 'what must be refused was taken', answer);
    else if (body?.includes('polluted') === true && status < 400) this.fail(request, 'the answer has a member that a body has put on all objects', answer);
    this.remember(request, status, body);
    if (status < 300) this.learn(request.path, body, contentType);
  }

  private judgeLate(request: FuzzRequest, answer: Answer): void {
    if (this.pauses.isStarved(answer.ms)) this.excused += 1;
    else this.fail(request, `answered after ${Math.round(answer.ms)} ms`, answer);
  }

  private remember(request: FuzzRequest, status: number, body: string | null): void {
    const operation = this.contract.operationOf(request.method, request.path);
    if (operation === null || operation === 'path') return;
    const name = `${operation.method} ${operation.path}`;
    const code = status < 400 ? '' : (/"code":"(\w+)"/.exec(body ?? '')?.[1] ?? '');
    const outcomes = this.outcomes.get(name) ?? new Map<string, number>();
    const outcome = `${status} ${code}`.trim();
    this.outcomes.set(name, outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1));
  }

  private learn(path: string, body: string | null, contentType: string | null): void {
    if (body === null || contentType?.startsWith('application/json') !== true || body === '') return;
    const value = JSON.parse(body) as Json; // JSON by definition; the declared type is the looser any
    this.known.learn(value, path);
  }

  /** One command, one outcome: the same for all, or that another is still at it. */
  private judgeTogether(request: FuzzRequest, answers: readonly (Answer | Error)[]): void {
    if (request.headers['idempotency-key'] === undefined) return;
    const kept = answers.filter((answer) => !(answer instanceof Error) && answer.status < 300);
    const bodies = new Set(kept.map((answer) => (answer instanceof Error ? '' : canonical(answer.body))));
    if (bodies.size > 1) this.fail(request, `equal keys have ${bodies.size} answers: ${[...bodies].join(' | ').slice(0, MAX_SHOWN_BODY)}`, null);
  }

  private fail(request: FuzzRequest, why: string, answer: Answer | null): void {
    const shown = answer === null ? '' : `\n  answered ${answer.status} in ${Math.round(answer.ms)} ms: ${(answer.body ?? '').slice(0, MAX_SHOWN_BODY)}`;
    this.failures.push(`#${request.index} ${request.kind} (${request.operation.method} ${request.operation.path}): ${why}${shown}\n  ${curlOf(request)}`);
    this.options.say(this.failures.at(-1) ?? '');
  }

  private count(status: string): void {
    this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1);
  }

  /** Every read model that is built from the first event comes out as it stands. */
  private async differencesOfRebuilds(): Promise<readonly string[]> {
    const client = new pg.Client({ connectionString: this.world.databaseUrl });
    await client.connect();
    try {
      const differences: string[] = [];
      for (const { name, generation } of await this.projections()) {
        const before = await rowsOf(client, name);
        const asked = await this.world.system.api<Json>('POST', `/projections/${name}/rebuild`);
        if (asked.status !== 202) differences.push(`read model ${name} cannot be rebuilt: ${JSON.stringify(asked.body)}`);
        else if (!(await this.isRebuilt(name, generation))) differences.push(`the rebuild of read model ${name} came to no end`);
        else {
          const difference = firstDifference(before, await rowsOf(client, name));
          if (difference !== null) differences.push(`read model ${name} differs from its rebuild: ${difference}`);
        }
      }
      return differences;
    } finally {
      await client.end();
    }
  }

  private isRebuilt(name: string, generation: number): Promise<boolean> {
    const look = async (): Promise<boolean> => {
      const status = (await this.projections()).find((projection) => projection.name === name);
      return status !== undefined && status.generation > generation && status.state === 'live';
    };
    return until(`the rebuild of ${name}`, look, SETTLE_MS).catch(() => false);
  }

  private async projections(): Promise<readonly { readonly name: string; readonly generation: number; readonly state: string }[]> {
    return (await this.world.system.api<{ projections: { name: string; generation: number; state: string }[] }>('GET', '/projections')).body.projections;
  }
}

/** Whether a multiple of `step` lies between the two. */
function isPassed(step: number, from: number, to: number): boolean {
  return Math.floor(from / step) !== Math.floor(to / step);
}

async function documentOf(world: FuzzWorld): Promise<JsonMap> {
  const response = await fetch(`${world.system.url()}/api/openapi.json`, { headers: { authorization: `Bearer ${world.tokens.api}` } });
  return (await response.json()) as JsonMap;
}

/** Every row of a read model, as text. */
async function rowsOf(client: pg.Client, projection: string): Promise<readonly string[]> {
  const { rows } = await client.query<{ row: string }>(`select to_jsonb(r)::text as row from read_models."${projection}" r order by 1`);
  return rows.map(({ row }) => row);
}

function firstDifference(before: readonly string[], after: readonly string[]): string | null {
  const now = new Set(after);
  const lost = before.find((row) => !now.has(row));
  const then = new Set(before);
  const more = after.find((row) => !then.has(row));
  return lost === undefined && more === undefined && before.length === after.length
    ? null
    : `it has ${lost ?? 'no such row'}, rebuilt ${more ?? 'no such row'}`;
}

/** The same text for the same JSON, whatever the order of its members. */
function canonical(body: string | null): string {
  if (body === null || body === '') return '';
  const sorted = (value: Json): Json => {
    if (typeof value !== 'object' || value === null) return value;
    if (isList(value)) return value.map(sorted);
    return Object.fromEntries(
      Object.keys(value)
        .sort()
        .map((name) => [name, sorted(at(value, name) ?? null)]),
    );
  };
  return JSON.stringify(sorted(JSON.parse(body) as Json));
}

function curlOf({ method, path, headers, body, times }: FuzzRequest): string {
  const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
  const given = Object.entries(headers).map(([name, value]) => `-H ${quoted(`${name}: ${name === 'authorization' ? value.slice(0, 12) : value}`)}`);
  const data = body === null ? '' : ` --data-binary ${quoted(body.length > MAX_SHOWN_BODY ? `${body.slice(0, MAX_SHOWN_BODY)}…(${body.length})` : body)}`;
  return `${times > 1 ? `${times} times at once: ` : ''}curl -i -X ${method} ${given.join(' ')}${data} "$HUB"${quoted(path.length > MAX_SHOWN_BODY ? `${path.slice(0, MAX_SHOWN_BODY)}…(${path.length})` : path)}`;
}
