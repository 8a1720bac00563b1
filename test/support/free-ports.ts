import { PortProbe } from '../../src/lib/nbd/port-probe.js';

/** Below the ports that the kernel gives to clients, so that none of these is taken by chance. */
const LOWEST = 20_000;
const HIGHEST = 32_000;

/** The first of `count` ports in a row on loopback that nobody listens on. Starts at a place of chance, because other tests look for some too. */
export async function freePortRange(count: number): Promise<number> {
  const probe = new PortProbe();
  for (let attempt = 0; attempt < 200; attempt++) {
    const first = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST - count));
    let free = 0;
    while (free < count && (await probe.isFree('127.0.0.1', first + free))) free++;
    if (free === count) return first;
  }
  throw new Error(`no ${count} free ports in a row were found`);
}
