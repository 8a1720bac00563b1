import type { ToolRights } from './process-supervisor.port.js';

/** Numbers from linux/capability.h; capabilities(7) describes them. */
export const CAP_CHOWN = 0;
export const CAP_DAC_OVERRIDE = 1;
export const CAP_SYS_ADMIN = 21;

/**
 * The command-line prefix that drops the ambient capabilities a tool must not have. Empty when there are none to drop.
 * @param status text of `/proc/self/status`
 */
export function droppingCapabilities(status: string, rights: ToolRights): readonly string[] {
  const ambient = maskOf(status, 'CapAmb');
  if (ambient === 0n || rights === 'all') return [];
  const kept = rights === 'files' && isIn(ambient, CAP_DAC_OVERRIDE) ? '-all,+dac_override' : '-all';
  return ['setpriv', `--inh-caps=${kept}`, `--ambient-caps=${kept}`, '--'];
}

/**
 * Whether a process has the capability in its effective set, the one that the kernel checks. False when the text does not say.
 * @param status text of `/proc/<pid>/status`
 * @param capability its number: the bit in the hexadecimal mask `CapEff`
 */
export function hasCapability(status: string, capability: number): boolean {
  return isIn(maskOf(status, 'CapEff'), capability);
}

function maskOf(status: string, set: 'CapEff' | 'CapAmb'): bigint {
  return BigInt(`0x${new RegExp(`^${set}:\\s+([0-9a-f]+)$`, 'm').exec(status)?.[1] ?? '0'}`);
}

function isIn(mask: bigint, capability: number): boolean {
  return (mask & (1n << BigInt(capability))) !== 0n;
}
