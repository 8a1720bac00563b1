import { connect } from 'node:net';
import { PortProbe } from '../../src/lib/nbd/port-probe.js';

/** Below the ports that the kernel gives to clients, so that none of these is taken by chance. */
const ANY = '20000-32700';
/** More than Jest has workers. */
const PARTS_OF_A_RUN = 6;

/**
 * The first of `count` ports in a row on loopback that nobody listens on: of the part that this worker of the run has to itself (`run-setup.mjs`), so that no other
 * test chooses them too before they are used.
 */
export async function freePortRange(count: number): Promise<number> {
  const probe = new PortProbe();
  const { lowest, ports } = ownPorts();
  for (let attempt = 0; attempt < 200; attempt++) {
    const first = lowest + Math.floor(Math.random() * (ports - count));
    let free = 0;
    while (free < count && (await probe.isFree('127.0.0.1', first + free))) free++;
    if (free === count) return first;
  }
  throw new Error(`no ${count} free ports in a row were found`);
}

function ownPorts(): { readonly lowest: number; readonly ports: number } {
  const ofRun = process.env['SENDENSE_TEST_PORTS'];
  const [lowest = 0, highest = 0] = (ofRun ?? ANY).split('-').map(Number);
  if (ofRun === undefined) return { lowest, ports: highest - lowest };
  const ports = Math.floor((highest - lowest) / PARTS_OF_A_RUN);
  return { lowest: lowest + ((Number(process.env['JEST_WORKER_ID'] ?? 1) - 1) % PARTS_OF_A_RUN) * ports, ports };
}

/** Whether something accepts connections. (To look whether the port is free would take it, for a moment, from a server that is just starting.) */
export function isServed(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const settle = (served: boolean): void => {
      socket.destroy();
      resolve(served);
    };
    socket.once('connect', () => settle(true));
    socket.once('error', () => settle(false));
  });
}
