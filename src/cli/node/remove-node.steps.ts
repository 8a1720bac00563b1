import { hostFacts } from './host-facts.reader.js';
import type { HubApi } from './hub-api.client.js';
import { installScript } from './release-archive.packer.js';
import type { RemoteHost } from './remote-host.connection.js';
import type { StepList } from './step-list.printer.js';

/** Takes a node from its hub and everything of Sendense from its host. May be run again. @returns what stays on the host, as the host tells it */
export async function removeNode(host: RemoteHost, hub: HubApi, steps: StepList): Promise<string> {
  const script = await installScript();
  const { nodeId } = await steps.run('look at the host', async (note) => {
    const facts = await hostFacts(host, script);
    note(facts.release === null ? 'no node runs there' : `runs ${facts.release}`);
    return facts;
  });
  await steps.run('revoke it at the hub', async (note) => {
    // First, so that nothing of this node is believed from now on, whatever becomes of the rest.
    if (nodeId === null) note('the host does not know of a pairing');
    else note((await hub.revoke(nodeId)) ? nodeId : `the hub knows no node ${nodeId}`);
  });
  return steps.run('stop it and take it away', async () => {
    const { stderr } = await host.runAsRoot(['bash', '-s', '--', 'remove', 'node'], script);
    return stderr
      .split('\n')
      .map((line) => line.replace(/^install: /, ''))
      .filter((line) => /\bstays?\b/.test(line))
      .join('\n');
  });
}
