import { hostFacts } from './host-facts.reader.js';
import { type HubApi, HubRefusalError } from '../api/hub-api.client.js';
import { installScript } from './release-archive.packer.js';
import type { RemoteHost } from './remote-host.connection.js';
import type { StepList } from './step-list.printer.js';

/** Revokes a node at its hub and removes everything of Sendense from its host. May be run again. @returns what remains on the host, as reported by the host */
export async function removeNode(host: RemoteHost, hub: HubApi, steps: StepList): Promise<string> {
  const script = await installScript();
  const { nodeId } = await steps.run('inspect the host', async (note) => {
    const facts = await hostFacts(host, script);
    note(facts.release === null ? 'no node is installed' : `runs ${facts.release}`);
    return facts;
  });
  await steps.run('revoke it at the hub', async (note) => {
    // First, so that the hub refuses this node even if the rest fails.
    if (nodeId === null) {
      note('the host was never paired');
      return;
    }
    try {
      await hub.call('DELETE', `/nodes/${nodeId}`);
      note(nodeId);
    } catch (error) {
      if (!(error instanceof HubRefusalError) || error.code !== 'node_not_found') throw error;
      note(`the hub knows no node ${nodeId}`);
    }
  });
  return steps.run('stop and remove it', async () => {
    const { stderr } = await host.runAsRoot(['bash', '-s', '--', 'remove', 'node'], script);
    return [...stderr.matchAll(/^install: (remains: .*)$/gm)].map(([, line]) => line).join('\n');
  });
}
