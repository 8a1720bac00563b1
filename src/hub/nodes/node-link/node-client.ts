import { Inject, Injectable } from '@nestjs/common';
import { DomainError, type ErrorKind } from '../../../kernel/domain-error.js';
import { Clock } from '../../../lib/clock/clock.js';
import { HubConfig } from '../../hub.config.js';
import { ACCESS_TOKENS, type AccessTokens } from '../../../lib/http/access-tokens.js';
import { WrongShapeError } from '../../../lib/json-shape/json-shape.js';
import { isProof, newNonce, PROOF_HEADER, signatureHeader } from '../../../lib/signed-calls/call-signature.js';
import { NodeCredentials } from '../../../lib/signed-calls/node-credentials.js';
import type {
  NodeActivateKeys,
  NodeBootCheckArtefacts,
  NodeBootCheckReport,
  NodeChangeIds,
  NodeChangeIdsRemoved,
  NodeHealth,
  NodeJobReport,
  NodePreparedKeys,
  NodePrepareKeys,
  NodeTunnelPorts,
  NodeTunnelPortsTaken,
  NodeRemoveChangeIds,
  NodeSettleBackup,
  NodeSettleVmRestore,
  NodeSource,
  NodeStartBackup,
  NodeStartBootCheck,
  NodeStartVmRestore,
  NodeVmList,
  NodeVmRestoreReport,
} from '../../../contract/node-api.js';
import {
  parseActivating,
  parseChangeIds,
  parseChangeIdsRemoved,
  parseHealth,
  parseJobReport,
  parsePreparedKeys,
  parseTunnelPortsTaken,
  parseVmList,
} from './node-answer.js';
import { parseBootCheckArtefacts, parseBootCheckReport, parseSettled, parseVmRestoreReport } from './node-vm-answer.js';

/** Largest answer that is read from a node. */
export const MAX_ANSWER_BYTES = 8 * 1024 * 1024;

/** Beginning of the codes of fetch's HTTP parser, and what stands for its errors that have none. */
const NOT_HTTP = 'HPE_';

type Call = { readonly method: 'GET' | 'POST'; readonly path: string; readonly body?: object };

/** The token never travels; whoever answers must show that it has it too. */
type Key = { readonly nodeId: string | null; readonly token: string };
type Answered = { readonly status: number; readonly contentType: string | null; readonly text: string; readonly proven: boolean };

/**
 * The hub's client of the node API. `url` is the node's base, for example `http://127.0.0.1:9081`. Every call is idempotent at the node and may be repeated. Calls are
 * signed, with the node's own token where an enrolled node is at that address, and otherwise with the one that all nodes share.
 *
 * All throw DomainError: `node_unreachable` (nobody listens there, or it went away before it answered), `node_silent` (no complete answer within nodeRequestTimeoutMs),
 * `node_broken_answer` (not what the node API says: not HTTP, not JSON, wrong members, cut short, over 8 MiB, a defect of the node), `node_refused_token`,
 * `node_not_proven` (somebody else listens there), `node_revoked`, `node_not_enrolled`; or the node's own refusal with its code and the kind of its status.
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
    return this.ask(url, { method: 'GET', path: '/api/v1/health' }, parseHealth);
  }

  /** All VMs the node finds, or the one with this source_ref; an empty list (or the node's `vm_not_found`) where it knows none. */
  async listVms(url: string, one?: { readonly source: NodeSource; readonly source_ref: string }): Promise<NodeVmList> {
    const query = one === undefined ? '' : `?source_ref=${encodeURIComponent(one.source_ref)}&source=${one.source}`;
    return this.ask(url, { method: 'GET', path: `/api/v1/vms${query}` }, parseVmList);
  }

  /** Answers with the job as it stands, also when it had been started before. */
  async startBackup(url: string, body: NodeStartBackup): Promise<NodeJobReport> {
    return this.ask(url, { method: 'POST', path: '/api/v1/backup/start', body }, jobReportOf(body.job_id));
  }

  /** null: the node has no such job. */
  async getJob(url: string, jobId: string): Promise<NodeJobReport | null> {
    return this.askOrNull(url, { method: 'GET', path: `/api/v1/backup/${encodeURIComponent(jobId)}` }, jobReportOf(jobId));
  }

  /** null: the node has no such job. */
  async cancel(url: string, jobId: string): Promise<NodeJobReport | null> {
    return this.askOrNull(url, { method: 'POST', path: `/api/v1/backup/${encodeURIComponent(jobId)}/cancel`, body: {} }, jobReportOf(jobId));
  }

  /** Resolves once the node confirms that it holds nothing of the job any more. */
  async settle(url: string, jobId: string, body: NodeSettleBackup): Promise<void> {
    await this.ask(url, { method: 'POST', path: `/api/v1/backup/${encodeURIComponent(jobId)}/settle`, body }, parseSettled);
  }

  /** Answers with the restore as it stands, also when it had been started before. */
  async startVmRestore(url: string, body: NodeStartVmRestore): Promise<NodeVmRestoreReport> {
    return this.ask(url, { method: 'POST', path: '/api/v1/vm-restores/start', body }, parseVmRestoreReport);
  }

  /** null: the node has no such restore. */
  async getVmRestore(url: string, jobId: string): Promise<NodeVmRestoreReport | null> {
    return this.askOrNull(url, { method: 'GET', path: `/api/v1/vm-restores/${encodeURIComponent(jobId)}` }, parseVmRestoreReport);
  }

  /** Resolves once the node holds nothing of the restore any more but, with `keep`, the finished VM. */
  async settleVmRestore(url: string, jobId: string, body: NodeSettleVmRestore): Promise<void> {
    await this.ask(url, { method: 'POST', path: `/api/v1/vm-restores/${encodeURIComponent(jobId)}/settle`, body }, parseSettled);
  }

  /** Answers with the check as it stands, also when it had been started before. */
  async startBootCheck(url: string, body: NodeStartBootCheck): Promise<NodeBootCheckReport> {
    return this.ask(url, { method: 'POST', path: '/api/v1/boot-checks/start', body }, parseBootCheckReport);
  }

  /** null: the node has no such check. */
  async getBootCheck(url: string, checkId: string): Promise<NodeBootCheckReport | null> {
    return this.askOrNull(url, { method: 'GET', path: `/api/v1/boot-checks/${encodeURIComponent(checkId)}` }, parseBootCheckReport);
  }

  /** null: the node has no such check. */
  async getBootCheckArtefacts(url: string, checkId: string): Promise<NodeBootCheckArtefacts | null> {
    return this.askOrNull(url, { method: 'GET', path: `/api/v1/boot-checks/${encodeURIComponent(checkId)}/artefacts` }, parseBootCheckArtefacts);
  }

  /** Resolves once the node holds nothing of the check any more. */
  async settleBootCheck(url: string, checkId: string): Promise<void> {
    await this.ask(url, { method: 'POST', path: `/api/v1/boot-checks/${encodeURIComponent(checkId)}/settle`, body: {} }, parseSettled);
  }

  /** Every change id of the hub that the node finds at its VMs. */
  async changeIds(url: string, hubId: string): Promise<NodeChangeIds> {
    return this.ask(url, { method: 'GET', path: `/api/v1/change-ids?hub_id=${encodeURIComponent(hubId)}` }, parseChangeIds);
  }

  async removeChangeIds(url: string, body: NodeRemoveChangeIds): Promise<NodeChangeIdsRemoved> {
    return this.ask(url, { method: 'POST', path: '/api/v1/change-ids/remove', body }, parseChangeIdsRemoved);
  }

  /** The node's tunnel leads to these ports from now on. */
  async tellTunnelPorts(url: string, body: NodeTunnelPorts): Promise<NodeTunnelPortsTaken> {
    return this.ask(url, { method: 'POST', path: '/api/v1/tunnel-ports', body }, parseTunnelPortsTaken);
  }

  /** The node's new key and token, which it does not use yet. */
  async prepareKeys(url: string, body: NodePrepareKeys): Promise<NodePreparedKeys> {
    return this.ask(url, { method: 'POST', path: '/api/v1/keys/prepare', body }, parsePreparedKeys);
  }

  /** Resolves once the node has begun to put them to use. */
  async activateKeys(url: string, body: NodeActivateKeys): Promise<void> {
    await this.ask(url, { method: 'POST', path: '/api/v1/keys/activate', body }, parseActivating);
  }

  private async askOrNull<Answer>(url: string, call: Call, parse: (answer: unknown) => Answer): Promise<Answer | null> {
    try {
      return await this.ask(url, call, parse);
    } catch (error) {
      // Only the node's own word on the job is a fact; the 404 of whatever else listens there is not.
      if (error instanceof DomainError && error.kind === 'not_found' && error.code !== 'route_not_found') return null;
      throw error;
    }
  }

  private async ask<Answer>(url: string, call: Call, parse: (answer: unknown) => Answer): Promise<Answer> {
    const response = await this.exchange(url, call, this.keyOf(url));
    let answer: unknown;
    try {
      answer = JSON.parse(response.text);
    } catch {
      if (response.status === 401 || response.status === 403) throw refusedToken(url, call, response.status);
      throw broken(url, call, `it answered ${response.status} with something that is not JSON (${response.contentType ?? 'no content type'})`);
    }
    if (response.status === 401 || response.status === 403) throw refusedToken(url, call, response.status, problemOf(answer)?.detail);
    if (!response.proven) throw notProven(url, call);
    if (response.status < 200 || response.status > 299) throw refusal(url, call, response.status, answer);
    try {
      return parse(answer);
    } catch (error) {
      if (error instanceof WrongShapeError) throw broken(url, call, error.message);
      throw error;
    }
  }

  private keyOf(url: string): Key {
    const node = this.credentials.ofUrl(url);
    if (node === null) return { nodeId: null, token: this.tokens.nodeToken };
    const facts = { node_id: node.nodeId, node_url: url };
    if (node.status === 'revoked') {
      throw new DomainError('conflict', 'node_revoked', `Node ${node.nodeId} was revoked. Enrol it anew to use it again.`, facts);
    }
    if (node.status === 'not_enrolled_yet' || node.send === null) {
      throw new DomainError('conflict', 'node_not_enrolled', `Node ${node.nodeId} is not enrolled: it cannot be called.`, facts);
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
      // A kept-alive connection of a node that was restarted fails at its next use; the calls are idempotent, so a fresh one is tried once.
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
    if (error instanceof WrongShapeError) return broken(url, call, error.message);
    const code = causeCodeOf(error);
    if (answerBegun) return broken(url, call, `its answer was cut short (${code ?? 'connection closed'})`);
    if (code?.startsWith(NOT_HTTP) === true) return broken(url, call, `it does not speak HTTP`);
    // Where an enrolled node is called, its tunnel listens, not the node.
    const remedy =
      this.credentials.ofUrl(url) === null
        ? 'Check that it runs and listens there.'
        : 'Its tunnel is down: check "sendense tunnel" on the node, and the network.';
    return new DomainError('upstream_unreachable', 'node_unreachable', `The node at ${url} cannot be reached (${code ?? 'connection failed'}). ${remedy}`, {
      ...facts,
      ...(code === null ? {} : { errno: code }),
    });
  }
}

async function readLimited(response: Response): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop by a throw cancels the stream and so closes the connection.
  const body: AsyncIterable<Uint8Array> | readonly Uint8Array[] = response.body ?? [];
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > MAX_ANSWER_BYTES) throw new WrongShapeError(`its answer is longer than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function jobReportOf(jobId: string): (answer: unknown) => NodeJobReport {
  return (answer) => {
    const report = parseJobReport(answer);
    if (report.job_id !== jobId) throw new WrongShapeError(`it reports on job ${report.job_id} instead of ${jobId}`);
    return report;
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
    `The node at ${url} does not accept this hub's node token (${status}${detail === undefined ? '' : `: ${detail}`}). Give hub and node the same node token file, or enrol the node anew.`,
    { ...factsOf(url, call), node_status: status },
  );
}

function notProven(url: string, call: Call): DomainError {
  return new DomainError(
    'upstream_broken',
    'node_not_proven',
    `What answers at ${url} has not shown that it has the node's token: it is another program, or a node of an older version. Look what listens there.`,
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
    `The node at ${url} answers nonsense to ${call.method} ${call.path}: ${problem}. Check that a node of a fitting version listens there.`,
    factsOf(url, call),
  );
}

function factsOf(url: string, call: Call): { node_url: string; call: string } {
  return { node_url: url, call: `${call.method} ${call.path}` };
}

/** fetch hides the reason in `cause`, where that may be an AggregateError over several addresses. */
function causeCodeOf(error: unknown): string | null {
  for (let current: unknown = error, depth = 0; typeof current === 'object' && current !== null && depth < 5; depth++) {
    if ('code' in current && typeof current.code === 'string') return current.code;
    if ('name' in current && current.name === 'HTTPParserError') return NOT_HTTP;
    current = 'cause' in current ? current.cause : null;
  }
  return null;
}
