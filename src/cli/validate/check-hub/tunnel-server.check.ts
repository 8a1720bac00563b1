import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../../kernel/error-message.js';
import type { HubConfig } from '../../../hub/hub.config.js';
import { object, text, wholeNumber } from '../../../lib/json-shape/json-shape.js';
import { readBanner } from '../../ssh/ssh-banner.js';
import { SERVER_FILE } from '../../../tunnel/interface/tunnel-server-files.js';
import { type Check, fail, pass, skip } from '../model/check.plan.js';

/** Whether nodes can reach the hub's end of their tunnels. */
export function tunnelServerCheck(config: HubConfig): Check {
  return {
    id: 'tunnel_server',
    role: 'hub',
    title: 'the tunnel server answers',
    run: async () => {
      const file = join(config.tunnelDirectory, SERVER_FILE);
      const json = await readFile(file, 'utf8').catch(() => null);
      if (json === null) return skip(`no tunnel server has run with ${config.tunnelDirectory}`);
      const place = object(JSON.parse(json), file);
      const host = text(place['listen_host'], 'listen_host');
      const port = wholeNumber(place['listen_port'], 'listen_port');
      const reached = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
      try {
        const banner = await readBanner(reached, port);
        if (banner.startsWith('SSH-2.0-')) return pass(`${host}:${port} answers as ${banner}`);
        return fail(`the service on ${reached}:${port} is not an SSH server`, 'Stop it, or set another tunnel_listen_port.');
      } catch (error) {
        const cause = messageOf(error);
        return fail(
          `nothing answers on ${reached}:${port}: ${cause}`,
          'Start sendense tunnel-server; its log says why it stopped. Without it no enrolled node can be reached.',
        );
      }
    },
  };
}
