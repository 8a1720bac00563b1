import { join, normalize } from 'node:path';
import fc from 'fast-check';
import { type ApiContract, at, isList, type Json, type JsonMap, map, type Operation, textOf } from '../support/api-contract.js';
import { edgesOf, validValue } from '../support/schema-edges.js';
import { seeded } from '../support/seeded.js';
import { hostileText, hostileValue, unknownName } from './hostile-values.js';
import { kindOfParameter, type KnownValues } from './known-values.js';

export interface FuzzRequest {
  readonly index: number;
  /** What was done to it, for people. */
  readonly kind: string;
  readonly operation: Operation;
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  /** How many times at once. */
  readonly times: number;
  /** A request that must not succeed, by what the document or the guards say. */
  readonly mustBeRefused: boolean;
}

export interface Tokens {
  readonly api: string;
  readonly node: string;
}

/** Operations that cost a hub seconds are asked for less often. */
const COSTLY = /\/(?:verify|mount|discover|exports|rebuild|disks|vms\/preview|test)$|POST \/api\/v1\/backups$/;
const COSTLY_SHARE = 0.35;
/** Members of bodies that name places of this machine, which only what is thrown away afterwards may be. */
const PLACES = new Set(['path', 'target_path', 'storage_path', 'source_ref']);
const NOWHERE = 'http://127.0.0.1:1';
const PLAIN_JSON = 'application/json';

type Draft = { -readonly [name in keyof FuzzRequest]: FuzzRequest[name] } & { value: Json | null; query: [string, string][]; template: string };

/** Makes requests out of an OpenAPI document: the same ones for the same seed, but for the ids that the hub has given meanwhile. */
export class RequestGenerator {
  constructor(
    private readonly contract: ApiContract,
    private readonly known: KnownValues,
    private readonly tokens: Tokens,
    /** The folder that everything with a place is kept in. */
    private readonly sandbox: string,
    private readonly seed: number,
  ) {}

  make(index: number): FuzzRequest {
    const seed = (this.seed * 1_000_003 + index) | 0;
    const random = new Choices(seed);
    const draft = this.valid(index, random);
    const change = random.weighted<(draft: Draft, random: Choices) => void>([
      [26, (plain) => void (plain.kind = 'valid')],
      [26, this.changeBody],
      [14, this.changeQuery],
      [8, this.changePath],
      [4, this.changeMethod],
      [7, this.changeMedia],
      [6, this.changeAccess],
      [6, this.changeHeaders],
      [3, this.sendAtOnce],
    ]);
    change.call(this, draft, random);
    return this.finished(draft);
  }

  private valid(index: number, random: Choices): Draft {
    let operation = random.of(this.contract.operations);
    if (COSTLY.test(`${operation.method} ${operation.path}`) && random.next() > COSTLY_SHARE) operation = random.of(this.contract.operations);
    const { definition, method, path } = operation;
    const schema = at(definition, 'requestBody', 'content', PLAIN_JSON, 'schema');
    const isOfNode = JSON.stringify(definition['security'] ?? []).includes('node_token');
    return {
      index,
      kind: 'valid',
      operation,
      method,
      template: path,
      path: this.filled(path, random),
      query: this.validQuery(operation, random),
      headers: { authorization: `Bearer ${isOfNode ? this.tokens.node : this.tokens.api}` },
      value: schema === undefined ? null : this.knownBody(schema, random),
      body: null,
      times: 1,
      mustBeRefused: false,
    };
  }

  private finished(draft: Draft): FuzzRequest {
    const { index, kind, operation, method, headers, times, mustBeRefused, query, value } = draft;
    const search = query.length === 0 ? '' : `?${query.map(([name, text]) => `${encoded(name)}=${encoded(text)}`).join('&')}`;
    const body = draft.body ?? (value === null ? null : JSON.stringify(this.kept(value)));
    const type: Record<string, string> = body === null || 'content-type' in headers ? {} : { 'content-type': PLAIN_JSON };
    return { index, kind, operation, method, path: draft.path + search, headers: { ...type, ...headers }, body, times, mustBeRefused };
  }

  private filled(template: string, random: Choices): string {
    return template.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
      if (name === 'disk_id') return String(random.below(3));
      return encoded(this.known.pick(kindOfParameter(template, name), random.next()) ?? fc.sample(fc.uuid(), { numRuns: 1, seed: random.seed() })[0] ?? name);
    });
  }

  private validQuery(operation: Operation, random: Choices): [string, string][] {
    return this.parametersOf(operation, 'query').flatMap<[string, string]>((parameter) => {
      const isNeeded = parameter['required'] === true;
      if (!isNeeded && random.next() < 0.7) return [];
      const name = textOf(parameter['name']);
      return [
        [
          name,
          name === 'path' ? random.of(['/', '/etc', '/etc/hostname', '/large']) : this.knownOr(name, parameter['schema'] ?? null, parameter['example'], random),
        ],
      ];
    });
  }

  private knownOr(name: string, schema: Json, example: Json | undefined, random: Choices): string {
    const known = this.known.pick(name === 'after' ? 'position' : name, random.next());
    if (known !== null && random.next() < 0.7) return known;
    const values = at(schema, 'enum');
    return textOf(values !== undefined && isList(values) ? random.of(values) : (example ?? validValue(this.contract, schema)));
  }

  private knownBody(schema: Json, random: Choices): Json {
    const body = map(validValue(this.contract, schema));
    const required = this.contract.resolved(schema)['required'] ?? [];
    return Object.fromEntries(
      Object.entries(body).flatMap(([name, example]) => {
        const isNeeded = isList(required) && required.includes(name);
        if (!isNeeded && random.next() < 0.6) return [];
        return [[name, this.knownMember(name, example, at(this.contract.resolved(schema), 'properties', name) ?? null, random)]];
      }),
    );
  }

  private knownMember(name: string, example: Json, schema: Json, random: Choices): Json {
    if (name === 'name') return `fuzz-${random.below(1_000_000)}`;
    if (name === 'url') return NOWHERE;
    if (name === 'job_id' && random.next() < 0.5) return `fuzz-${random.below(50)}`;
    if (name === 'count') return 1 + random.below(3);
    const values = at(this.contract.resolved(schema), 'enum');
    if (values !== undefined && isList(values)) return random.of(values);
    return this.known.pick(name, random.next()) ?? example;
  }

  private changeBody(draft: Draft, random: Choices): void {
    const schema = at(draft.operation.definition, 'requestBody', 'content', PLAIN_JSON, 'schema');
    if (schema === undefined || draft.value === null) {
      this.changeQuery(draft, random);
      return;
    }
    const body = map(draft.value);
    const properties = map(this.contract.resolved(schema)['properties']);
    const name = random.of(Object.keys(properties));
    const seed = random.seed();
    const changed = random.weighted<() => readonly [string, Json]>([
      [4, () => ['an edge', { ...body, [name]: random.of(edgesOf(this.contract, properties[name] ?? null, seed)) }]],
      [4, () => ['a hostile value', { ...body, [name]: sampled(hostileValue, seed) }]],
      [2, () => ['null', { ...body, [name]: null }]],
      [2, () => ['an unknown member', withMember(body, sampled(unknownName, seed), random.of<Json>([1, null, { polluted: true }, 'x']))]],
      [1, () => ['a missing member', Object.fromEntries(Object.entries(body).filter(([other]) => other !== name))]],
      [1, () => ['all members hostile', Object.fromEntries(Object.keys(properties).map((each, at) => [each, sampled(hostileValue, seed + at)]))]],
      [1, () => ['all members null', Object.fromEntries(Object.keys(properties).map((each) => [each, null]))]],
      [1, () => ['another body', sampled(hostileValue, seed)]],
    ])();
    draft.kind = `body: ${changed[0]} at ${name}`;
    draft.value = changed[1];
    const validate = this.contract.validator(schema);
    draft.mustBeRefused = !validate(JSON.parse(JSON.stringify(this.kept(changed[1]))));
    if (changed[1] === null) draft.body = 'null';
  }

  private changeQuery(draft: Draft, random: Choices): void {
    const parameters = this.parametersOf(draft.operation, 'query');
    const seed = random.seed();
    const some = parameters.length === 0 ? null : random.of(parameters);
    if (some === null || random.next() < 0.15) {
      draft.kind = 'query: an unknown parameter';
      draft.query.push([sampled(unknownName, seed), sampled(hostileText, seed)]);
      return;
    }
    const name = textOf(some['name']);
    const others = draft.query.filter(([other]) => other !== name);
    const text = random.weighted<() => string>([
      [3, () => sampled(hostileText, seed)],
      [3, () => textOf(random.of(edgesOf(this.contract, some['schema'] ?? null, seed)))],
      [1, () => this.knownOr(name, some['schema'] ?? null, some['example'], random)],
      [name === 'cursor' ? 8 : 0, () => this.forgedCursor(random)],
    ])();
    draft.kind = `query: ${name}`;
    draft.query = [...others, [name, text.slice(0, 12_000)]];
    if (random.next() < 0.05) draft.query.push([name, text.slice(0, 100)]);
  }

  /** A real cursor with one of its keys changed, or something that looks like one. */
  private forgedCursor(random: Choices): string {
    const real = this.known.pick('cursor', random.next());
    const key = real === null ? {} : (JSON.parse(Buffer.from(real, 'base64url').toString('utf8')) as JsonMap);
    const name = random.of([...Object.keys(key), 'position', 'created_position', 'name', 'revision']);
    const forged = { ...key, [name]: sampled(hostileValue, random.seed()) };
    const text = Buffer.from(JSON.stringify(forged)).toString('base64url');
    return random.next() < 0.2 ? text.slice(0, -3) : text.slice(0, 8_000);
  }

  private changePath(draft: Draft, random: Choices): void {
    const names = [...draft.template.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
    const seed = random.seed();
    if (names.length === 0) {
      draft.kind = 'path: a further segment';
      draft.path = `${draft.path}/${encoded(sampled(hostileText, seed)).slice(0, 4_000)}`;
      return;
    }
    const name = random.of(names);
    const raw = random.weighted<() => string>([
      [5, () => encoded(sampled(hostileText, seed))],
      [2, () => encoded(random.of(['not-a-uuid', '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a1', ' ', '%', '1e3', '-1', '4294967296']))],
      [1, () => random.of(['%', '%ff', '%c0%af', '%00', '%2e%2e', '%ed%a0%80', ';a=b', '%0d%0a'])],
      [1, () => encoded(this.known.pick(random.of(['vm_id', 'backup_id', 'repository_id', 'mount_id', 'node_id', 'job_id']), random.next()) ?? 'x')],
    ])();
    draft.kind = `path: ${name}`;
    draft.path = draft.template.replaceAll(/\{(\w+)\}/g, (whole, each: string) =>
      each === name ? raw.slice(0, 6_000) : this.filled(`/${whole}`, random).slice(1),
    );
  }

  private changeMethod(draft: Draft, random: Choices): void {
    draft.method = random.of(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'TRACE', 'REPORT']);
    draft.kind = `method: ${draft.method}`;
    if (random.next() < 0.7) {
      draft.value = null;
      draft.query = [];
    }
  }

  private changeMedia(draft: Draft, random: Choices): void {
    const text = JSON.stringify(this.kept(draft.value ?? {}));
    const [type, body] = random.of<readonly [string | null, string]>([
      ['text/plain', text],
      ['application/x-www-form-urlencoded', 'vm_name=a'],
      ['multipart/form-data; boundary=x', '--x--'],
      ['application/json; charset=utf-16', text],
      ['application/json; charset=utf-8', text],
      ['application/vnd.api+json', text],
      ['application/json;', text],
      ['APPLICATION/JSON', text],
      ['/', text],
      [PLAIN_JSON, ''],
      [PLAIN_JSON, text.slice(0, -1)],
      [PLAIN_JSON, `[${text}]`],
      [PLAIN_JSON, `${text}${text}`],
      [PLAIN_JSON, `\ufeff${text}`],
      [PLAIN_JSON, '"text"'],
      [PLAIN_JSON, 'null'],
      [PLAIN_JSON, '{"a":'.repeat(500) + '1' + '}'.repeat(500)],
      [PLAIN_JSON, `{"vm_name":"${'x'.repeat(300_000)}"}`],
      [PLAIN_JSON, `{"vm_name":"${'y'.repeat(1_100_000)}"}`],
      [PLAIN_JSON, '{"vm_name":"a","vm_name":"b"}'],
      [PLAIN_JSON, '{"a":1e999}'],
    ]);
    draft.kind = `media type ${type ?? 'none'}`;
    draft.body = body;
    draft.headers = { ...draft.headers, ...(type === null ? {} : { 'content-type': type }), ...(random.next() < 0.1 ? { 'content-encoding': 'gzip' } : {}) };
  }

  private changeAccess(draft: Draft, random: Choices): void {
    const { api, node } = this.tokens;
    const isPublic = JSON.stringify(draft.operation.definition['security'] ?? []) === '[]';
    const own = draft.headers['authorization'] ?? '';
    const shown = random.of<string | null>([
      null,
      '',
      'Bearer',
      'Bearer ',
      `Bearer ${api}x`,
      `Bearer ${api.slice(1)}`,
      `Bearer ${api.toUpperCase()}`,
      `Basic ${Buffer.from(`api:${api}`).toString('base64')}`,
      `Token ${api}`,
      own === `Bearer ${api}` ? `Bearer ${node}` : `Bearer ${api}`,
      `Bearer ${'z'.repeat(5_000)}`,
      'Sendense-Signature nonsense',
      `Bearer ${api}, Bearer ${api}`,
    ]);
    const { authorization: _, ...others } = draft.headers;
    draft.kind = 'access';
    draft.headers = {
      ...others,
      ...(shown === null ? {} : { authorization: shown }),
      ...(random.next() < 0.2 ? { cookie: `token=${api}`, 'x-original-url': '/api/v1/health/live' } : {}),
    };
    draft.mustBeRefused = !isPublic;
  }

  private changeHeaders(draft: Draft, random: Choices): void {
    const seed = random.seed();
    const latin = (text: string): string => text.replaceAll(/[^\t\x20-\x7e\x80-\xff]/g, '').slice(0, 8_000);
    const more = random.of<Readonly<Record<string, string>>>([
      { 'idempotency-key': latin(sampled(hostileText, seed)) },
      { 'idempotency-key': `fuzz-${random.below(20)}` },
      { 'x-correlation-id': latin(sampled(hostileText, seed)) },
      { range: random.of(['bytes=0-0', 'bytes=-1', 'bytes=5-2', 'bytes=0-1,3-4', 'bytes=99999999999999999999-', 'lines=1-2', 'bytes=', 'bytes=a-b']) },
      { 'if-none-match': '*' },
      { 'if-match': '"x"', 'if-range': '"x"' },
      { accept: random.of(['text/html', 'application/x-ndjson', '*/*;q=0', 'text/event-stream', ';;;']) },
      { 'last-event-id': latin(sampled(hostileText, seed)) },
      { 'x-sendense-node': latin(sampled(hostileText, seed)) },
      { 'x-http-method-override': 'DELETE', 'x-forwarded-for': '::1' },
    ]);
    draft.kind = `headers: ${Object.keys(more).join(', ')}`;
    draft.headers = { ...draft.headers, ...more };
  }

  private sendAtOnce(draft: Draft, random: Choices): void {
    draft.kind = 'equal keys at once';
    draft.times = 2 + random.below(6);
    if (draft.method !== 'GET') draft.headers = { ...draft.headers, 'idempotency-key': `fuzz-${this.seed}-${draft.index}` };
  }

  private parametersOf(operation: Operation, place: string): readonly JsonMap[] {
    const parameters = operation.definition['parameters'] ?? [];
    return isList(parameters) ? parameters.map(map).filter((parameter) => parameter['in'] === place) : [];
  }

  /** The same body with every place of this machine inside the sandbox, and every address one where nobody listens. */
  private kept(value: Json): Json {
    if (typeof value !== 'object' || value === null || isList(value)) return value;
    const body: Record<string, Json> = { ...value };
    for (const [name, member] of Object.entries(value)) {
      if (typeof member !== 'string') continue;
      if (PLACES.has(name) && member.startsWith('/') && !normalize(`${member}/`).startsWith(`${this.sandbox}/`))
        body[name] = join(this.sandbox, 'outside', `x${member}`);
      if (name === 'url' && member !== NOWHERE && URL.canParse(member)) body[name] = NOWHERE;
    }
    return body;
  }
}

/** Numbers that are the same for the same seed. */
class Choices {
  readonly next: () => number;

  constructor(seed: number) {
    this.next = seeded(seed);
  }

  below(end: number): number {
    return Math.floor(this.next() * end);
  }

  seed(): number {
    return this.below(2 ** 31);
  }

  of<Each>(list: readonly Each[]): Each {
    const one = list[this.below(list.length)];
    if (one === undefined) throw new Error('there is nothing to choose from');
    return one;
  }

  weighted<Each>(list: readonly (readonly [weight: number, each: Each])[]): Each {
    let left = this.next() * list.reduce((sum, [weight]) => sum + weight, 0);
    const chosen = list.find(([weight]) => (left -= weight) < 0) ?? list[0];
    if (chosen === undefined) throw new Error('there is nothing to choose from');
    return chosen[1];
  }
}

function sampled<Value>(arbitrary: fc.Arbitrary<Value>, seed: number): Value {
  const [value] = fc.sample(arbitrary, { numRuns: 1, seed });
  // One was asked for; a value may be undefined only where the arbitrary makes such.
  return value as Value;
}

/** An own member, also when its name is `__proto__`. */
function withMember(body: JsonMap, name: string, value: Json): Json {
  return Object.fromEntries([...Object.entries(body), [name, value]]);
}

function encoded(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}
