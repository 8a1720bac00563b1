import type { MountDriverName } from './mount-driver.port.js';

/** Value of the setting. */
export type WantedDriver = 'auto' | MountDriverName;

/** The allowed drivers. `auto` allows the sandbox alone: the others let the host's kernel read guest data, which only an operator may choose. */
export function allowedDrivers(wanted: WantedDriver): readonly MountDriverName[] {
  return [wanted === 'auto' ? 'guestfs' : wanted];
}
