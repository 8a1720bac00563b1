import { Injectable } from '@nestjs/common';
import { HubConfig } from '../config/hub.config.js';
import { ProcessSupervisor } from '../process/process-supervisor.port.js';
import { FuseMountDriver } from './fuse-mount.driver.js';
import { GuestfsMountDriver } from './guestfs-mount.driver.js';
import { type DriverAvailability, type MountDriver, type MountDriverName, type MountedDisk, MountError, type MountOrder } from './mount-driver.port.js';
import { MountRelease, type Released } from './mount-release.js';
import { NbdMountDriver } from './nbd-mount.driver.js';

/** How long an answer about what the machine has is good. */
const KNOWN_FOR_MS = 60_000;

/**
 * The drivers of this machine. `auto` takes the kernel's nbd device where its module is there, otherwise FUSE, and the sandbox for what the host cannot mount, or for
 * everything where this process is not root's.
 */
@Injectable()
export class MountDrivers {
  private readonly drivers: readonly MountDriver[];
  private readonly takeDown: MountRelease;
  private known: { readonly at: number; readonly availability: Promise<readonly DriverAvailability[]> } | null = null;

  constructor(
    supervisor: ProcessSupervisor,
    private readonly config: HubConfig,
  ) {
    this.drivers = [
      new NbdMountDriver(supervisor),
      new FuseMountDriver(supervisor),
      new GuestfsMountDriver(supervisor, { forceEmulation: () => this.config.guestfsForceEmulation }),
    ];
    this.takeDown = new MountRelease(supervisor);
  }

  async availability(): Promise<readonly { readonly name: MountDriverName; readonly availability: DriverAvailability }[]> {
    const now = performance.now();
    if (this.known === null || now - this.known.at > KNOWN_FOR_MS) {
      this.known = { at: now, availability: Promise.all(this.drivers.map((driver) => driver.availability())) };
    }
    const found = await this.known.availability;
    return this.drivers.map(({ name }, index) => ({ name, availability: found[index] ?? { available: false, reason: 'not looked for' } }));
  }

  /** @throws MountError, with nothing left behind but what MountRelease removes; or the reason of the signal */
  async mount(order: MountOrder, signal: AbortSignal): Promise<MountedDisk> {
    const candidates = await this.candidates();
    for (const [index, driver] of candidates.entries()) {
      try {
        return await driver.mount(order, signal);
      } catch (error) {
        const next = candidates[index + 1];
        if (!(error instanceof MountError) || error.code !== 'filesystem_unsupported' || next === undefined) throw error;
        await this.takeDown.release(order.directory);
      }
    }
    throw new MountError('mount_driver_unavailable', 'no mount driver is left to try');
  }

  release(directory: string): Promise<Released> {
    return this.takeDown.release(directory);
  }

  stands(directory: string): Promise<boolean> {
    return this.takeDown.stands(directory);
  }

  /** In the order in which to try them. @throws MountError `mount_driver_unavailable` */
  private async candidates(): Promise<readonly MountDriver[]> {
    const wanted = this.config.mountDriver;
    const availability = await this.availability();
    const usable = this.drivers.filter(
      ({ name }) => (wanted === 'auto' || name === wanted) && availability.find((each) => each.name === name)?.availability.available === true,
    );
    const kernel = usable.find(({ name }) => name !== 'guestfs');
    const sandbox = usable.find(({ name }) => name === 'guestfs');
    const candidates = [kernel, sandbox].filter((driver) => driver !== undefined);
    if (candidates.length > 0) return candidates;
    const reasons = availability
      .filter(({ name }) => wanted === 'auto' || name === wanted)
      .map(({ name, availability: found }) => `${name}: ${found.available ? 'available' : found.reason}`);
    throw new MountError('mount_driver_unavailable', `this machine cannot mount disks (${reasons.join('; ')})`);
  }
}
