import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { NodeConfig } from '../../../node/node.config.js';
import { tunnelSocket, tunnelSocketDirectory } from '../../../tunnel/interface/tunnel-sockets.js';
import { readTunnelJournal } from '../../../tunnel/interface/tunnel-journal.js';
import { HUB_HOST_KEY_ALIAS, TUNNEL_FILES, type TunnelSettings } from '../../../tunnel/interface/tunnel-settings.js';
import type { NbdPool } from '../../api/answers.js';
import type { HubApi } from '../../api/hub-api.client.js';
import { type Check, fail, pass, skip, warn } from '../model/check.plan.js';

const CONNECT_MS = 10_000;
const NO_TUNNEL = 'this node has no tunnel';

/** The node's end of its tunnel. @param settings null: the node has no tunnel */
export function tunnelChecks(config: NodeConfig, settings: TunnelSettings | null, hub: HubApi): readonly Check[] {
  return [
    {
      id: 'tunnel_keys',
      role: 'node',
      title: 'key of the tunnel, and the pinned key of the hub',
      run: async () => {
        if (settings === null) return skip(NO_TUNNEL);
        const read = (name: string): Promise<string> => readFile(join(config.tunnelDirectory, name), 'utf8').catch(() => '');
        const again = 'Enrol the node again: sendense node enrol.';
        if (!(await read(TUNNEL_FILES.privateKey)).includes('PRIVATE KEY')) return fail(`${TUNNEL_FILES.privateKey} cannot be read or is not a key`, again);
        const pinned = (await read(TUNNEL_FILES.knownHosts)).split('\n').filter((line) => line.startsWith(`${HUB_HOST_KEY_ALIAS} ssh-ed25519 `));
        if (pinned.length === 0) return fail(`${TUNNEL_FILES.knownHosts} pins no host key of the hub, so the tunnel cannot connect`, again);
        return pass(`the host key of the hub ${settings.hub_host}:${settings.hub_port} is pinned`);
      },
    },
    {
      id: 'tunnel_state',
      role: 'node',
      title: 'state of the tunnel',
      run: async () => {
        if (settings === null) return skip(NO_TUNNEL);
        const journal = await readTunnelJournal(config.tunnelDirectory);
        const newest = journal?.transitions.at(-1);
        if (journal?.running !== true || newest === undefined) return fail('it is not running', 'Start sendense tunnel.');
        const { state, cause, connections, at } = newest;
        const text = `${state} since ${at}, ${connections.up} of ${connections.wanted} connections${cause === null ? '' : `: ${cause.detail}`}`;
        if (state === 'up') return pass(text);
        const remedy = 'The log of sendense tunnel says what it is waiting for; at the hub, check sendense tunnel-server.';
        return state === 'degraded' ? warn(text, remedy) : fail(text, remedy);
      },
    },
    {
      id: 'tunnel_ports',
      role: 'node',
      title: 'forwarded NBD ports',
      run: async () => {
        if (settings === null) return skip(NO_TUNNEL);
        const ports = Array.from({ length: settings.nbd_port_count }, (_, index) => settings.nbd_port_first + index);
        const open = await Promise.all(ports.map((port) => accepts(tunnelSocket(config.tunnelDirectory, port))));
        const closed = ports.filter((_, index) => open[index] !== true);
        const range = `${settings.nbd_port_first}-${settings.nbd_port_first + settings.nbd_port_count - 1}`;
        const missing = hub.hasToken ? await missingPorts(hub, settings) : null;
        if (missing !== null)
          return fail(
            missing,
            `Correct nbd_port_first and nbd_port_count in ${join(config.tunnelDirectory, TUNNEL_FILES.settings)}; sendense tunnel then applies them.`,
          );
        if (closed.length === 0) return pass(`all ${ports.length} of ${range} are forwarded`);
        const some = `${closed.slice(0, 10).join(', ')}${closed.length > 10 ? ', ...' : ''}`;
        return fail(
          `${closed.length} of ${range} are not forwarded: ${some}`,
          `Is sendense tunnel running, and may it write to ${tunnelSocketDirectory(config.tunnelDirectory)}?`,
        );
      },
    },
  ];
}

/** The hub's pool may have changed since the node was paired. null: nothing is missing, or the hub does not report it. */
async function missingPorts(hub: HubApi, { nbd_port_first: first, nbd_port_count: count }: TunnelSettings): Promise<string | null> {
  try {
    const pool = await hub.call<NbdPool>('GET', '/nbd/ports/metrics');
    if (pool.first_port >= first && pool.last_port < first + count) return null;
    return `the hub's pool is ${pool.first_port} to ${pool.last_port}, but the tunnel forwards ${first} to ${first + count - 1}`;
  } catch {
    return null;
  }
}

/** Whether something listens; the service behind it answers only while a disk is being served. */
async function accepts(path: string): Promise<boolean> {
  const socket = connect({ path, timeout: CONNECT_MS });
  try {
    return await new Promise<boolean>((resolve) => {
      socket.on('connect', () => resolve(true));
      socket.on('timeout', () => resolve(false));
      socket.on('error', () => resolve(false));
    });
  } finally {
    socket.destroy();
  }
}
