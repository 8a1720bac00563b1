import { DeployError } from './deployment.error.js';

/** The members of `GET /nodes` that a deployment uses. */
export interface NodeView {
  readonly node_id: string;
  readonly name: string;
  readonly state: string;
  /** As reported by the node; null: no report yet. */
  readonly tunnel: { readonly state: string; readonly cause: string | null } | null;
}

export interface Pairing {
  readonly node_id: string;
  readonly pairing_code: string;
}

const REQUEST_PATIENCE_MS = 60_000;

/** The hub that a node is deployed for. */
export class HubApi {
  constructor(
    readonly url: string,
    private readonly token: string,
  ) {}

  /** @throws DeployError when the hub does not answer, or refuses the token */
  async nodes(): Promise<readonly NodeView[]> {
    const { body } = await this.call('GET', '/nodes', undefined, [200]);
    // The hub's own response, in the shape of its API document; the same applies below.
    return (body as { readonly nodes: readonly NodeView[] }).nodes;
  }

  async node(nodeId: string): Promise<NodeView | null> {
    return (await this.nodes()).find((node) => node.node_id === nodeId) ?? null;
  }

  async startPairing(name: string): Promise<Pairing> {
    return (await this.call('POST', '/nodes', { name }, [201])).body as Pairing;
  }

  async approve(nodeId: string, fingerprint: string): Promise<void> {
    await this.call('POST', `/nodes/${nodeId}/approve`, { public_key_fingerprint: fingerprint }, [200, 201, 202, 204]);
  }

  /** Has the hub ask the node for its VMs. @returns their number; null when the hub gets no answer from the node */
  async discover(nodeId: string): Promise<number | null> {
    const { status, body } = await this.call('POST', `/nodes/${nodeId}/discover`, undefined, [200, 201, 502, 503, 504]);
    return status >= 500 ? null : (body as { readonly vms: readonly unknown[] }).vms.length;
  }

  /** @returns false when the hub knows no such node */
  async revoke(nodeId: string): Promise<boolean> {
    return (await this.call('DELETE', `/nodes/${nodeId}`, undefined, [200, 202, 204, 404])).status !== 404;
  }

  private async call(
    method: string,
    path: string,
    body: object | undefined,
    expected: readonly number[],
  ): Promise<{ readonly status: number; readonly body: unknown }> {
    let response: Response;
    try {
      response = await fetch(`${this.url}/api/v1${path}`, {
        method,
        headers: { authorization: `Bearer ${this.token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(REQUEST_PATIENCE_MS),
      });
    } catch (error) {
      throw new DeployError(`the hub does not answer at ${this.url}: is it running? Use --hub to name another one`, { cause: error });
    }
    const text = await response.text();
    if (!expected.includes(response.status)) throw new DeployError(`the hub refused ${method} ${path} with ${response.status}: ${detailOf(text)}`);
    return { status: response.status, body: text === '' ? null : JSON.parse(text) };
  }
}

function detailOf(text: string): string {
  try {
    const problem: unknown = JSON.parse(text);
    if (typeof problem === 'object' && problem !== null && 'detail' in problem && typeof problem.detail === 'string') return problem.detail;
  } catch {
    // Not a response of a hub.
  }
  return text.slice(0, 500);
}
