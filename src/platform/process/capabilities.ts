/** Numbers of linux/capability.h; capabilities(7) tells what they allow. */
export const CAP_DAC_OVERRIDE = 1;
export const CAP_SYS_ADMIN = 21;

/**
 * Whether a process has the capability in its effective set, which is the one that the kernel asks. False where the text does not say.
 * @param status text of `/proc/<pid>/status`
 * @param capability its number: the bit in the hexadecimal mask `CapEff`
 */
export function hasCapability(status: string, capability: number): boolean {
  const mask = /^CapEff:\s+([0-9a-f]+)$/m.exec(status)?.[1];
  return mask !== undefined && (BigInt(`0x${mask}`) & (1n << BigInt(capability))) !== 0n;
}
