import { join } from 'node:path';
import type { NodeConfig } from '../../../node/node.config.js';
import { programVersion } from '../../../lib/config/version.js';
import { reasonOf } from '../../api/hub-api.client.js';
import { keptText } from '../../config/kept-text.js';
import { type Check, fail, pass, warn } from '../model/check.plan.js';

const DEADLINE_MS = 10_000;

/** The node of this data directory, not some other program on its port. */
export function nodeServiceCheck(config: NodeConfig): Check {
  return {
    id: 'node_service',
    role: 'node',
    title: 'the node answers',
    run: async () => {
      const url = await keptText(join(config.dataDirectory, 'node.url'));
      const remedy = 'Start the node; its log says why it is not running.';
      if (url === null)
        return fail(`no node has run with ${config.dataDirectory}`, 'Start the node once, or set data_directory to the directory that it uses.');
      let health: unknown;
      try {
        health = await (await fetch(`${url}/api/v1/health`, { signal: AbortSignal.timeout(DEADLINE_MS) })).json();
      } catch (error) {
        return fail(`nothing answers at ${url}: ${reasonOf(error)}`, remedy);
      }
      const member = (name: string): unknown => (typeof health === 'object' && health !== null ? Reflect.get(health, name) : null);
      const [id, version] = [member('node_id'), member('version')];
      const expected = config.nodeId ?? (await keptText(join(config.dataDirectory, 'node.id')));
      if (typeof id !== 'string' || id !== expected) {
        return fail(
          `the service at ${url} is not node ${expected ?? 'of this directory'}`,
          "Another program uses the node's port: stop it, or set another listen_port.",
        );
      }
      if (version !== programVersion()) {
        return warn(`node ${id} at ${url} runs version ${String(version)}, installed is ${programVersion()}`, 'Restart the node.');
      }
      return pass(`node ${id} at ${url}, version ${programVersion()}`);
    },
  };
}
