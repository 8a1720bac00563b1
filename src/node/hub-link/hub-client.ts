import { readFile } from 'node:fs/promises';
import { Clock } from '../../lib/clock/clock.js';
import type { RawAnswer, RawCall } from './call-through-ssh.js';
import { isProof, newNonce, PROOF_HEADER, signatureHeader } from '../../lib/signed-calls/call-signature.js';

/** Read at each call, because settings may be reloaded and the token file may be replaced. */
export interface HubClientSettings {
  /** The hub's base URL, for example `http://127.0.0.1:9080`; those of a pair are separated by commas. */
  readonly hubUrl: string;
  readonly tokenFile: string;
  readonly nodeId: string | null;
}

/** Transports a call to the hub. */
export type HubExchange = (call: RawCall, signal: AbortSignal) => Promise<RawAnswer>;

export interface HubAnswer {
  readonly status: number;
  /** Parsed JSON; null if there is no body. */
  readonly body: unknown;
}

/** The hub refused the node's call (401 or 403): the token is wrong or revoked, or the clocks differ. */
export class HubRefusedNodeError extends Error {
  override readonly name = 'HubRefusedNodeError';
  constructor(
    readonly status: number,
    /** The problem's code; `unknown` if the answer has none. */
    readonly code: string,
    detail: string,
  ) {
    super(detail);
  }
}

/** The answer does not prove that it comes from the hub that knows the node's token. */
export class NotTheHubError extends Error {
  override readonly name = 'NotTheHubError';
}

const DEADLINE_MS = 5_000;
const LARGEST_ANSWER_BYTES = 1024 * 1024;

/**
 * A node's calls to its hub, signed with the node's token, which itself never leaves the node. An answer counts only if it proves that it comes from the hub.
 */
export class HubClient {
  /** Counts the hubs. */
  private active = 0;

  /** @param exchange default: to hubUrl by HTTP */
  constructor(
    private readonly settings: HubClientSettings,
    private readonly clock: Clock,
    private readonly exchange?: HubExchange,
  ) {}

  /**
   * @param path below the hub's base, for example `/api/v1/telemetry/backup/...` @throws HubRefusedNodeError; Error if there is no answer in time, or one that
   * is not the hub's
   */
  async post(path: string, body: object, signal: AbortSignal = AbortSignal.timeout(DEADLINE_MS)): Promise<HubAnswer> {
    const { hubUrl, tokenFile, nodeId } = this.settings;
    const token = (await readFile(tokenFile, 'utf8')).trim();
    const target = new URL(path, baseUrls(hubUrl)[0]);
    const text = JSON.stringify(body);
    const nonce = newNonce();
    const call = { direction: 'to_hub' as const, method: 'POST', path: target.pathname + target.search, body: text };
    const by = { nodeId, timeMs: this.clock.now().getTime(), nonce };
    const headers = { 'content-type': 'application/json', authorization: signatureHeader(token, call, by) };
    const overHttp: HubExchange = (raw, deadline) => this.callActive(baseUrls(hubUrl), raw, deadline);
    const { status, headers: answered, body: answer } = await (this.exchange ?? overHttp)({ method: 'POST', path: call.path, headers, body: text }, signal);
    const parsed = parsedOrNull(answer);
    if (status === 401 || status === 403) {
      throw new HubRefusedNodeError(status, member(parsed, 'code') ?? 'unknown', member(parsed, 'detail') ?? `the hub answered ${status}`);
    }
    if (!isProof(answered.get(PROOF_HEADER), token, nonce, status, answer)) {
      throw new NotTheHubError(`the server at ${hubUrl} has not shown that it is the hub (status ${status})`);
    }
    return { status, body: parsed };
  }

  /** Calls the hub that was active last; if it does not answer, or is a standby, the next call goes to the next one. */
  private async callActive(hubs: readonly string[], call: RawCall, signal: AbortSignal): Promise<RawAnswer> {
    const hub = hubs[this.active % hubs.length] ?? '';
    try {
      const answer = await callOverHttp(hub, call, signal);
      if (answer.status === 503) this.active += 1;
      return answer;
    } catch (error) {
      this.active += 1;
      throw error;
    }
  }
}

function baseUrls(hubUrl: string): readonly string[] {
  return hubUrl.split(',');
}

async function callOverHttp(hubUrl: string, call: RawCall, signal: AbortSignal): Promise<RawAnswer> {
  const { method, path, headers, body } = call;
  const response = await fetch(new URL(path, hubUrl), { method, headers, body, signal, redirect: 'manual' });
  const answer = Buffer.from(await response.arrayBuffer());
  if (answer.byteLength > LARGEST_ANSWER_BYTES) throw new Error(`the answer from ${hubUrl} has ${answer.byteLength} bytes`);
  return { status: response.status, headers: response.headers, body: answer };
}

function parsedOrNull(answer: Buffer): unknown {
  if (answer.byteLength === 0) return null;
  try {
    return JSON.parse(answer.toString('utf8'));
  } catch {
    return null;
  }
}

function member(body: unknown, name: 'code' | 'detail'): string | null {
  const value: unknown = typeof body === 'object' && body !== null ? Reflect.get(body, name) : null;
  return typeof value === 'string' ? value : null;
}
