import type { Clock } from '../../../lib/clock/clock.js';
import { programVersion } from '../../../lib/config/version.js';
import { clockVerdict } from '../model/clock-skew.plan.js';
import type { Node } from '../../api/answers.js';
import { type HubApi, reasonOf } from '../../api/hub-api.client.js';
import { type Check, fail, skip, type Verdict, warn, worst } from '../model/check.plan.js';

const DEADLINE_MS = 10_000;
/** Nodes in these states are not expected to answer. */
const NOT_IN_SERVICE = ['pairing', 'awaiting_approval', 'pairing_failed', 'revoked'];

/** Checks every node as the hub reaches it; a node behind a tunnel through the tunnel's reverse port. */
export function nodesChecks(hub: HubApi, clock: Clock): readonly Check[] {
  const inService = async (): Promise<readonly Node[]> =>
    (await hub.call<{ nodes: Node[] }>('GET', '/nodes?limit=1000')).nodes.filter(({ state }) => !NOT_IN_SERVICE.includes(state));
  return [
    {
      id: 'nodes',
      role: 'hub',
      title: 'the hub reaches its nodes',
      run: async () => {
        const nodes = await inService();
        if (nodes.length === 0) return warn('there are no nodes', 'Start the local node (start_local_node), or enrol one: POST /nodes.');
        const findings = nodes.flatMap((node): readonly Verdict[] => {
          const { name, state, version, error } = node;
          if (state === 'unknown') return [warn(`"${name}" has not been contacted yet`, 'Check again in a minute.')];
          if (state !== 'reachable') {
            return [fail(`"${name}" is ${state}${error === null ? '' : `: ${error.detail}`}`, 'Start the node, and its tunnel if it has one; see their logs.')];
          }
          if (version === programVersion()) return [];
          return [warn(`"${name}" runs version ${version ?? 'unknown'}, this is ${programVersion()}`, 'Install the same version on hub and nodes.')];
        });
        return worst(findings, nodes.map(({ name, url }) => `"${name}" at ${url ?? 'no address'}`).join(', '));
      },
    },
    {
      id: 'tunnels',
      role: 'hub',
      title: 'tunnels of enrolled nodes, from the hub to the node',
      run: async () => {
        const enrolled = (await inService()).filter(({ enrolment, tunnel }) => enrolment !== null || tunnel !== null);
        if (enrolled.length === 0) return skip('no node has a tunnel');
        const findings: Verdict[] = [];
        for (const { name, url, tunnel } of enrolled) {
          const answer = url === null ? new Error('it has no address') : await health(url, clock);
          if (answer instanceof Error) {
            findings.push(
              fail(
                `"${name}" does not answer through its tunnel: ${answer.message}`,
                'On the node: sendense validate --role node; is sendense tunnel running?',
              ),
            );
          } else if (tunnel !== null && tunnel.state !== 'up') {
            const { state, cause, connections } = tunnel;
            findings.push(
              warn(
                `the tunnel of "${name}" is ${state} (${connections.up} of ${connections.wanted} connections): ${cause?.detail ?? ''}`,
                'See the log of sendense tunnel on the node.',
              ),
            );
          }
        }
        return worst(findings, enrolled.map(({ name, url }) => `"${name}" answers at ${url ?? ''}`).join(', '));
      },
    },
    {
      id: 'node_clocks',
      role: 'hub',
      title: 'clocks of hub and nodes',
      run: async () => {
        const nodes = await inService();
        const findings: Verdict[] = [];
        for (const { name, url } of nodes) {
          if (url === null) continue;
          const answer = await health(url, clock);
          if (!(answer instanceof Error)) findings.push(clockVerdict(`node "${name}"`, answer.timeMs, answer.sentMs, answer.heardMs, 1));
        }
        if (findings.length === 0) return skip('no node answers');
        return worst(findings, findings.map(({ detail }) => detail).join(', '));
      },
    },
  ];
}

async function health(url: string, clock: Clock): Promise<{ readonly timeMs: number; readonly sentMs: number; readonly heardMs: number } | Error> {
  const sentMs = clock.now().getTime();
  try {
    const response = await fetch(`${url}/api/v1/health`, { signal: AbortSignal.timeout(DEADLINE_MS) });
    const body: unknown = await response.json();
    const time: unknown = typeof body === 'object' && body !== null ? Reflect.get(body, 'time') : null;
    if (typeof time !== 'string') return new Error(`the service at ${url} is not a node`);
    return { timeMs: Date.parse(time), sentMs, heardMs: clock.now().getTime() };
  } catch (error) {
    return new Error(reasonOf(error), { cause: error });
  }
}
