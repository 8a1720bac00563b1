import type { MountDriverName } from './mount-driver.port.js';

/** What stands in the configuration. */
export type WantedDriver = 'auto' | MountDriverName;

/** The drivers that may be used. Without a name it is the sandbox alone: the others have the host's kernel read what a guest wrote, which is for an operator to choose. */
export function allowedDrivers(wanted: WantedDriver): readonly MountDriverName[] {
  return [wanted === 'auto' ? 'guestfs' : wanted];
}
