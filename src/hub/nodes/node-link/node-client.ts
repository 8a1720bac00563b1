import { Inject, Injectable } from '@nestjs/common';
import { DomainError, type ErrorKind } from '../../../kernel/domain-error.js';
import { Clock } from '../../../lib/clock/clock.js';
import { HubConfig } from '../../hub.config.js';
import { ACCESS_TOKENS, type AccessTokens } from '../../../lib/http/access-tokens.js';
import { isProof, newNonce, PROOF_HEADER, signatureHeader } from '../../../lib/signed-calls/call-signature.js';
import { NodeCredentials } from '../../../lib/signed-calls/node-credentials.js';
import { NodeJobReport, type NodeSettleBackup, NodeSettled, type NodeStartBackup } from '../../../contract/backup-job.js';
import { NodeBootCheckArtefacts, NodeBootCheckReport, type NodeStartBootCheck } from '../../../contract/boot-check.js';
import { NodeChangeIds, NodeChangeIdsRemoved, type NodeRemoveChangeIds } from '../../../contract/change-ids.js';
import { NodeHealth } from '../../../contract/health.js';
import { type NodeActivateKeys, NodeActivating, NodePreparedKeys, type NodePrepareKeys } from '../../../contract/keys.js';
import { InvalidMessageError, type MessageClass, parseMessage } from '../../../contract/parse-message.js';
import { type NodeTunnelPorts, NodeTunnelPortsTaken } from '../../../contract/tunnel.js';
import { NodeVmList } from '../../../contract/vm-list.js';
import { type NodeSettleVmRestore, type NodeStartVmRestore, NodeVmRestoreReport } from '../../../contract/vm-restore.js';
import type { NodeSource } from '../../../contract/words.js';

/** Maximum size of a node's answer. */
export const MAX_ANSWER_BYTES = 8 * 1024 * 1024;

/** Prefix of the error codes of fetch's HTTP parser; also stands in for its errors without a code. */
const NOT_HTTP = 'HPE_';

type Call = { readonly method: 'GET' | 'POST'; readonly path: string; readonly body?: object };

/** The token itself is never sent. The peer must prove that it has the token too. */
type Key = { readonly nodeId: string | null; readonly token: string };
type Answered = { readonly status: number; readonly contentType: string | null; readonly text: string; readonly proven: boolean };

/**
 * The hub's client of the node API. `url` is the base URL of the node, for example `http://127.0.0.1:9081`. Every call is idempotent at the node and
 * may be retried. Calls are signed with the node's own token if an enrolled node is at that address, and otherwise with the token that all other nodes
 * share.
 *
 * All methods throw DomainError: `node_unreachable` (nothing listens there, or the connection closed before an answer), `node_silent` (no complete
 * answer within nodeRequestTimeoutMs), `node_broken_answer` (the answer violates the node API: not HTTP, not JSON, wrong members, truncated, over 8
 * MiB, an internal error of the node), `node_refused_token`, `node_not_proven` (another program listens there), `node_revoked`, `node_not_enrolled`; or
 * the node's own refusal with its code and the kind of its status.
 */
@Injectable()
export class NodeClient {
  constructor(
    private readonly config: HubConfig,
    @Inject(ACCESS_TOKENS) private readonly tokens: AccessTokens,
    private readonly credentials: NodeCredentials,
    private readonly clock: Clock,
  ) {}

  async health(url: string): Promise<NodeHealth> {
    return this.ask(url, { method: 'GET', path: '/api/v1/health' }, NodeHealth);
  }

  /**
   * Returns all VMs that the node finds, or the one with this source_ref. Where the node knows none, the list is empty or the node refuses with
   * `vm_not_found`.
   */
  async listVms(url: string, one?: { readonly source: NodeSource; readonly source_ref: string }): Promise<NodeVmList> {
    const query = one === undefined ? '' : `?source_ref=${encodeURIComponent(one.source_ref)}&source=${one.source}`;
    return this.ask(url, { method: 'GET', path: `/api/v1/vms${query}` }, NodeVmList);
  }

  /** Returns the current state of the job, even if it was already started. */
  async startBackup(url: string, body: NodeStartBackup): Promise<NodeJobReport> {
    return this.ask(url, { method: 'POST', path: '/api/v1/backup/start', body }, NodeJobReport, isAbout(body.job_id));
  }

  /** Returns null if the node does not know the job. */
  async getJob(url: string, jobId: string): Promise<NodeJobReport | null> {
    return this.askOrNull(url, { method: 'GET', path: `/api/v1/backup/${encodeURIComponent(jobId)}` }, NodeJobReport, isAbout(jobId));
  }

  /** Resolves once the node confirms that it has released everything of the job. */
  async settle(url: string, jobId: string, body: NodeSettleBackup): Promise<void> {
    await this.ask(url, { method: 'POST', path: `/api/v1/backup/${encodeURIComponent(jobId)}/settle`, body }, NodeSettled);
  }

  /** Returns the current state of the restore, even if it was already started. */
  async startVmRestore(url: string, body: NodeStartVmRestore): Promise<NodeVmRestoreReport> {
    return this.ask(url, { method: 'POST', path: '/api/v1/vm-restores/start', body }, NodeVmRestoreReport);
  }

  /** Returns null if the node does not know the restore. */
  async getVmRestore(url: string, jobId: string): Promise<NodeVmRestoreReport | null> {
    return this.askOrNull(url, { method: 'GET', path: `/api/v1/vm-restores/${encodeURIComponent(jobId)}` }, NodeVmRestoreReport);
  }

  /** Resolves once the node has released everything of the restore; with `keep`, the finished VM stays. */
  async settleVmRestore(url: string, jobId: string, body: NodeSettleVmRestore): Promise<void> {
    await this.ask(url, { method: 'POST', path: `/api/v1/vm-restores/${encodeURIComponent(jobId)}/settle`, body }, NodeSettled);
  }

  /** Returns the current state of the check, even if it was already started. */
  async startBootCheck(url: string, body: NodeStartBootCheck): Promise<NodeBootCheckReport> {
    return this.ask(url, { method: 'POST', path: '/api/v1/boot-checks/start', body }, NodeBootCheckReport);
  }

  /** Returns null if the node does not know the check. */
  async getBootCheck(url: string, checkId: string): Promise<NodeBootCheckReport | null> {
    return this.askOrNull(url, { method: 'GET', path: `/api/v1/boot-checks/${encodeURIComponent(checkId)}` }, NodeBootCheckReport);
  }

  /** Returns null if the node does not know the check. */
  async getBootCheckArtefacts(url: string, checkId: string): Promise<NodeBootCheckArtefacts | null> {
    return this.askOrNull(url, { method: 'GET', path: `/api/v1/boot-checks/${encodeURIComponent(checkId)}/artefacts` }, NodeBootCheckArtefacts);
  }

  /** Resolves once the node has released everything of the check. */
  async settleBootCheck(url: string, checkId: string): Promise<void> {
    await this.ask(url, { method: 'POST', path: `/api/v1/boot-checks/${encodeURIComponent(checkId)}/settle`, body: {} }, NodeSettled);
  }

  /** Returns every change id of the hub that the node finds on its VMs. */
  async changeIds(url: string, hubId: string): Promise<NodeChangeIds> {
    return this.ask(url, { method: 'GET', path: `/api/v1/change-ids?hub_id=${encodeURIComponent(hubId)}` }, NodeChangeIds);
  }

  async removeChangeIds(url: string, body: NodeRemoveChangeIds): Promise<NodeChangeIdsRemoved> {
    return this.ask(url, { method: 'POST', path: '/api/v1/change-ids/remove', body }, NodeChangeIdsRemoved);
  }

  /** Makes the node's tunnel forward to these ports. */
  async sendTunnelPorts(url: string, body: NodeTunnelPorts): Promise<NodeTunnelPortsTaken> {
    return this.ask(url, { method: 'POST', path: '/api/v1/tunnel-ports', body }, NodeTunnelPortsTaken);
  }

  /** Makes the node create a new key and token, which it does not use yet. */
  async prepareKeys(url: string, body: NodePrepareKeys): Promise<NodePreparedKeys> {
    return this.ask(url, { method: 'POST', path: '/api/v1/keys/prepare', body }, NodePreparedKeys);
  }

  /** Resolves once the node has begun to switch to the prepared keys. */
  async activateKeys(url: string, body: NodeActivateKeys): Promise<void> {
    await this.ask(url, { method: 'POST', path: '/api/v1/keys/activate', body }, NodeActivating);
  }

  private async askOrNull<Answer extends object>(
    url: string,
    call: Call,
    type: MessageClass<Answer>,
    check?: (answer: Answer) => void,
  ): Promise<Answer | null> {
    try {
      return await this.ask(url, call, type, check);
    } catch (error) {
      // Only the node's own 404 is proof that there is no such job; a 404 of another program on this port is not.
      if (error instanceof DomainError && error.kind === 'not_found' && error.code !== 'route_not_found') return null;
      throw error;
    }
  }

  private async ask<Answer extends object>(url: string, call: Call, type: MessageClass<Answer>, check?: (answer: Answer) => void): Promise<Answer> {
    const response = await this.exchange(url, call, this.keyOf(url));
    let answer: unknown;
    try {
      answer = JSON.parse(response.text);
    } catch {
      if (response.status === 401 || response.status === 403) throw refusedToken(url, call, response.status);
      throw broken(url, call, `its ${response.status} answer is not JSON (${response.contentType ?? 'no content type'})`);
    }
    if (response.status === 401 || response.status === 403) throw refusedToken(url, call, response.status, problemOf(answer)?.detail);
    if (!response.proven) throw notProven(url, call);
    if (response.status < 200 || response.status > 299) throw refusal(url, call, response.status, answer);
    try {
      const message = parseMessage(type, answer);
      check?.(message);
      return message;
    } catch (error) {
      if (error instanceof InvalidMessageError) throw broken(url, call, error.message);
      throw error;
    }
  }

  private keyOf(url: string): Key {
    const node = this.credentials.ofUrl(url);
    if (node === null) return { nodeId: null, token: this.tokens.nodeToken };
    const facts = { node_id: node.nodeId, node_url: url };
    if (node.status === 'revoked') {
      throw new DomainError('conflict', 'node_revoked', `Node ${node.nodeId} was revoked. Enrol it again to use it.`, facts);
    }
    if (node.status === 'not_enrolled_yet' || node.send === null) {
      throw new DomainError('conflict', 'node_not_enrolled', `Node ${node.nodeId} is not enrolled, so it cannot be called.`, facts);
    }
    return { nodeId: node.nodeId, token: node.send };
  }

  private async exchange(url: string, call: Call, key: Key): Promise<Answered> {
    const signal = AbortSignal.timeout(this.config.nodeRequestTimeoutMs);
    let response: Response;
    let nonce = newNonce();
    try {
      response = await this.send(url, call, key, nonce, signal);
    } catch (error) {
      // The kept-alive connection of a restarted node fails at its next use. Calls are idempotent, so try once more on a new connection.
      if (!['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'].includes(causeCodeOf(error) ?? '')) throw this.failure(url, call, signal, error, false);
      nonce = newNonce();
      try {
        response = await this.send(url, call, key, nonce, signal);
      } catch (second) {
        throw this.failure(url, call, signal, second, false);
      }
    }
    try {
      const body = await readLimited(response);
      const { status, headers } = response;
      const proven = isProof(headers.get(PROOF_HEADER), key.token, nonce, status, body);
      return { status, contentType: headers.get('content-type'), text: body.toString('utf8'), proven };
    } catch (error) {
      throw this.failure(url, call, signal, error, true);
    }
  }

  private async send(url: string, call: Call, key: Key, nonce: string, signal: AbortSignal): Promise<Response> {
    const target = new URL(call.path, url);
    const body = call.body === undefined ? '' : JSON.stringify(call.body);
    const signed = { direction: 'to_node' as const, method: call.method, path: target.pathname + target.search, body };
    return fetch(target, {
      method: call.method,
      signal,
      redirect: 'manual',
      headers: {
        authorization: signatureHeader(key.token, signed, { nodeId: key.nodeId, timeMs: this.clock.now().getTime(), nonce }),
        accept: 'application/json, application/problem+json',
        ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(call.body === undefined ? {} : { body }),
    });
  }

  private failure(url: string, call: Call, signal: AbortSignal, error: unknown, answerBegun: boolean): DomainError {
    const facts = factsOf(url, call);
    if (signal.aborted) {
      const ms = this.config.nodeRequestTimeoutMs;
      return new DomainError('upstream_silent', 'node_silent', `The node at ${url} did not answer ${call.method} ${call.path} within ${ms} ms.`, {
        ...facts,
        timeout_ms: ms,
      });
    }
    if (error instanceof InvalidMessageError) return broken(url, call, error.message);
    const code = causeCodeOf(error);
    if (answerBegun) return broken(url, call, `its answer was cut short (${code ?? 'connection closed'})`);
    if (code?.startsWith(NOT_HTTP) === true) return broken(url, call, `it does not speak HTTP`);
    // An enrolled node is called through its tunnel, so the tunnel is what listens at this address.
    const remedy =
      this.credentials.ofUrl(url) === null
        ? 'Check that the node is running and listens there.'
        : 'Its tunnel is down: check "sendense tunnel" on the node and the network.';
    return new DomainError('upstream_unreachable', 'node_unreachable', `The node at ${url} cannot be reached (${code ?? 'connection failed'}). ${remedy}`, {
      ...facts,
      ...(code === null ? {} : { errno: code }),
    });
  }
}

async function readLimited(response: Response): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // A throw leaves the loop, cancels the stream and so closes the connection.
  const body: AsyncIterable<Uint8Array> | readonly Uint8Array[] = response.body ?? [];
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > MAX_ANSWER_BYTES) throw new InvalidMessageError('', 'too_long', `its answer exceeds ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function isAbout(jobId: string): (report: NodeJobReport) => void {
  return (report) => {
    if (report.job_id !== jobId) throw new InvalidMessageError('job_id', 'other_job', `it reports job ${report.job_id} instead of ${jobId}`);
  };
}

function refusal(url: string, call: Call, status: number, answer: unknown): DomainError {
  const problem = problemOf(answer);
  if (problem === null) return broken(url, call, `it answered ${status} without a problem's code and detail`);
  const kind = kindOf(status);
  if (kind === null) return broken(url, call, `it answered ${status} ${problem.code}: ${problem.detail}`);
  return new DomainError(kind, problem.code, problem.detail, factsOf(url, call));
}

function refusedToken(url: string, call: Call, status: number, detail?: string): DomainError {
  return new DomainError(
    'upstream_broken',
    'node_refused_token',
    `The node at ${url} does not accept this hub's node token (${status}${detail === undefined ? '' : `: ${detail}`}). Give hub and node the same node token file, or enrol the node again.`,
    { ...factsOf(url, call), node_status: status },
  );
}

function notProven(url: string, call: Call): DomainError {
  return new DomainError(
    'upstream_broken',
    'node_not_proven',
    `The program at ${url} did not prove that it has the node's token: it is another program or an older node. Check what listens there.`,
    factsOf(url, call),
  );
}

function problemOf(answer: unknown): { readonly code: string; readonly detail: string } | null {
  if (typeof answer !== 'object' || answer === null || !('code' in answer) || !('detail' in answer)) return null;
  const { code, detail } = answer;
  if (typeof code !== 'string' || !/^[a-z][a-z0-9_]{0,99}$/.test(code) || typeof detail !== 'string') return null;
  return { code, detail };
}

function kindOf(status: number): ErrorKind | null {
  switch (status) {
    case 400:
      return 'invalid';
    case 404:
      return 'not_found';
    case 409:
      return 'conflict';
    case 410:
      return 'gone';
    case 422:
      return 'unprocessable';
    case 503:
      return 'unavailable';
    case 507:
      return 'storage_full';
    default:
      return null;
  }
}

function broken(url: string, call: Call, problem: string): DomainError {
  return new DomainError(
    'upstream_broken',
    'node_broken_answer',
    `The node at ${url} gave an invalid answer to ${call.method} ${call.path}: ${problem}. Check that a node of a compatible version listens there.`,
    factsOf(url, call),
  );
}

function factsOf(url: string, call: Call): { node_url: string; call: string } {
  return { node_url: url, call: `${call.method} ${call.path}` };
}

/** fetch puts the reason into `cause`, which may be an AggregateError over several addresses. */
function causeCodeOf(error: unknown): string | null {
  for (let current: unknown = error, depth = 0; typeof current === 'object' && current !== null && depth < 5; depth++) {
    if ('code' in current && typeof current.code === 'string') return current.code;
    if ('name' in current && current.name === 'HTTPParserError') return NOT_HTTP;
    current = 'cause' in current ? current.cause : null;
  }
  return null;
}
