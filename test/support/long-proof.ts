/** Whether tests that repeat themselves do so as often as the long proof asks for (`bin/proof`), or only as often as every run can afford. */
const IS_LONG = process.env['SENDENSE_LIBVIRT_PROOF'] === 'full';

export function times(short: number, long: number): number {
  return IS_LONG ? long : short;
}
