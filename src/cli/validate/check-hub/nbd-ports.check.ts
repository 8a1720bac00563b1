import { readFile } from 'node:fs/promises';
import { messageOf } from '../../../kernel/error-message.js';
import type { HubConfig } from '../../../hub/hub.config.js';
import { PortProbe } from '../../../lib/nbd/port-probe.js';
import type { NbdPort } from '../../api/answers.js';
import type { HubApi } from '../../api/hub-api.client.js';
import { type Check, fail, type Verdict, warn, worst } from '../model/check.plan.js';

const RANGE_FILE = '/proc/sys/net/ipv4/ip_local_port_range';

/** Whether this machine can listen on the ports that the hub counts as free. */
export function nbdPortsCheck(config: HubConfig, hub: HubApi): Check {
  return {
    id: 'nbd_ports',
    role: 'hub',
    title: 'ports of the NBD pool',
    run: async () => {
      const { ports } = await hub.call<{ ports: NbdPort[] }>('GET', '/nbd/ports?limit=1000');
      const probe = new PortProbe();
      const taken: number[] = [];
      const held = ports.filter(({ state }) => state === 'allocated').length;
      for (const { port, state } of ports) {
        if (state === 'allocated') continue;
        try {
          if (!(await probe.isFree(config.nbdListenHost, port))) taken.push(port);
        } catch (error) {
          const text = `nothing can listen on ${config.nbdListenHost}:${port}: ${messageOf(error)}`;
          return fail(text, 'Set nbd_listen_host to an address of this machine, and nbd_port_first to a port that the hub may use.');
        }
      }
      const usable = ports.length - held - taken.length;
      const findings: Verdict[] = [];
      if (taken.length > 0) {
        const text = `${taken.length} of ${ports.length} are used by other programs (${taken.slice(0, 10).join(', ')}${taken.length > 10 ? ', ...' : ''})`;
        const remedy = 'Stop those programs (ss -ltnp shows them), or move the pool: nbd_port_first, nbd_port_count.';
        findings.push(usable === 0 && held === 0 ? fail(text, remedy) : warn(text, remedy));
      }
      findings.push(...(await overlap(config)));
      return worst(findings, `${usable} of ${ports.length} are free, ${held} are in use`);
    },
  };
}

/** A port that the kernel assigns to any client of this machine may be missing from the pool just when it is needed. */
async function overlap({ nbdPortFirst, nbdPortCount }: HubConfig): Promise<readonly Verdict[]> {
  const [first = 0, last = 0] = (await readFile(RANGE_FILE, 'utf8').catch(() => '')).trim().split(/\s+/).map(Number);
  const end = nbdPortFirst + nbdPortCount - 1;
  if (last === 0 || end < first || nbdPortFirst > last) return [];
  const text = `ports ${nbdPortFirst} to ${end} overlap with the kernel's range for client connections (${first} to ${last})`;
  return [warn(text, `Move the pool below ${first}, or set net.ipv4.ip_local_reserved_ports = ${nbdPortFirst}-${end} with sysctl.`)];
}
