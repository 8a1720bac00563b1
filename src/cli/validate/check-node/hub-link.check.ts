import { join } from 'node:path';
import type { Clock } from '../../../lib/clock/clock.js';
import type { NodeConfig } from '../../../node/node.config.js';
import { HubClient, HubRefusedNodeError, NotTheHubError } from '../../../node/main.hub-link.js';
import { keptText } from '../../config/kept-text.js';
import { clockVerdict } from '../model/clock-skew.plan.js';
import { reasonOf } from '../../api/hub-api.client.js';
import { type Check, fail, pass, skip, type Verdict } from '../model/check.plan.js';

const DEADLINE_MS = 10_000;
/** HTTP dates have a resolution of whole seconds. */
const DATE_RESOLUTION_MS = 1_000;
const NOBODYS_JOB = '00000000-0000-4000-8000-000000000000';

/** The path from the node to the hub; for an enrolled node it goes through the tunnel. */
export function hubLinkChecks(config: NodeConfig, throughTunnel: boolean, clock: Clock): readonly Check[] {
  const what = throughTunnel ? 'through the tunnel' : 'directly';
  return [
    {
      id: 'hub_link',
      role: 'node',
      title: 'the node reaches the hub',
      run: async () => {
        const remedy = throughTunnel
          ? 'Is sendense tunnel running here, and sendense tunnel-server at the hub? The log of sendense tunnel says what it is waiting for.'
          : 'Is the hub running? Is hub_url right, and does a firewall let the node through?';
        try {
          const began = performance.now();
          const response = await fetch(new URL('/api/v1/health/live', config.hubUrl.split(',', 1)[0]), { signal: AbortSignal.timeout(DEADLINE_MS) });
          const body: unknown = await response.json();
          if (response.ok && typeof body === 'object' && body !== null && Reflect.get(body, 'status') === 'live') {
            return pass(`${config.hubUrl} answers ${what} in ${Math.round(performance.now() - began)} ms`);
          }
          return fail(`the service at ${config.hubUrl} is not a hub (status ${response.status})`, remedy);
        } catch (error) {
          return fail(`nothing answers at ${config.hubUrl}: ${reasonOf(error)}`, remedy);
        }
      },
    },
    {
      id: 'node_access',
      role: 'node',
      title: 'hub and node authenticate each other',
      run: async (): Promise<Verdict> => {
        const nodeId = config.nodeId ?? (await keptText(join(config.dataDirectory, 'node.id')));
        if (nodeId === null) return skip('the node has no id yet');
        const { hubUrl, tokenFile } = config;
        try {
          // An empty report: the hub authenticates the node, then refuses the content.
          const { status } = await new HubClient({ hubUrl, tokenFile, nodeId }, clock).post(`/api/v1/telemetry/backup/${NOBODYS_JOB}`, {});
          if (status === 400) return pass("the hub accepts the node's signature and proves its own identity");
          return fail(`the hub answered ${status} to a report of the node`, 'Install the same version on hub and node.');
        } catch (error) {
          if (error instanceof HubRefusedNodeError) {
            return fail(
              `the hub refuses the node: ${error.message}`,
              "Was it revoked? Are the clocks right? Otherwise enrol it again (sendense node enrol), or copy the hub's node.token here.",
            );
          }
          if (error instanceof NotTheHubError)
            return fail(error.message, 'Another program answers in place of the hub, or token_file belongs to another hub: enrol the node again.');
          return typeof error === 'object' && error !== null && Reflect.get(error, 'path') === tokenFile
            ? fail(reasonOf(error), 'Enrol the node (sendense node enrol), or give its user read access to token_file.')
            : skip('the hub does not answer');
        }
      },
    },
    {
      id: 'hub_clock',
      role: 'node',
      title: 'clock of the hub',
      run: async (): Promise<Verdict> => {
        const sentMs = clock.now().getTime();
        try {
          const response = await fetch(new URL('/api/v1/health/live', config.hubUrl.split(',', 1)[0]), { signal: AbortSignal.timeout(DEADLINE_MS) });
          await response.body?.cancel();
          const date = Date.parse(response.headers.get('date') ?? '');
          if (Number.isNaN(date)) return skip('the hub does not report its time');
          return clockVerdict('the hub', date, sentMs, clock.now().getTime(), DATE_RESOLUTION_MS);
        } catch {
          return skip('the hub does not answer');
        }
      },
    },
  ];
}
