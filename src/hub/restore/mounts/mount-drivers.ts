import { Injectable } from '@nestjs/common';
import { HubConfig } from '../../hub.config.js';
import { ProcessSupervisor } from '../../../lib/process/process-supervisor.port.js';
import { allowedDrivers } from './choose-drivers.plan.js';
import { FuseMountDriver } from './fuse-mount.driver.js';
import { GuestfsMountDriver } from './guestfs-mount.driver.js';
import { type DriverAvailability, type MountDriver, type MountDriverName, type MountedDisk, MountError, type MountOrder } from './mount-driver.port.js';
import { MountRelease, type Released } from './mount-release.js';
import { NbdMountDriver } from './nbd-mount.driver.js';

/** Lifetime of the cached availability. */
const KNOWN_FOR_MS = 60_000;

/** The drivers of this machine. `auto` uses the sandbox; drivers that let the host's kernel read a guest's file system must be named in the configuration. */
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
    return this.drivers.map(({ name }, index) => ({ name, availability: found[index] ?? { available: false, reason: 'not checked' } }));
  }

  /** @throws MountError; or the reason of the signal. MountRelease removes anything left behind. */
  async mount(order: MountOrder, signal: AbortSignal): Promise<MountedDisk> {
    return (await this.usableDriver()).mount(order, signal);
  }

  release(directory: string): Promise<Released> {
    return this.takeDown.release(directory);
  }

  stands(directory: string): Promise<boolean> {
    return this.takeDown.stands(directory);
  }

  /** @throws MountError `mount_driver_unavailable` */
  private async usableDriver(): Promise<MountDriver> {
    const wanted = this.config.mountDriver;
    const allowed = allowedDrivers(wanted);
    const availability = await this.availability();
    const isAvailable = (driver: string): boolean => availability.find(({ name }) => name === driver)?.availability.available === true;
    const usable = this.drivers.find(({ name }) => allowed.includes(name) && isAvailable(name));
    if (usable !== undefined) return usable;
    const reasons = availability
      .filter(({ name }) => allowed.includes(name))
      .map(({ name, availability: found }) => `${name}: ${found.available ? 'available' : found.reason}`);
    const others = this.drivers.filter(({ name }) => wanted === 'auto' && isAvailable(name)).map(({ name }) => name);
    const choice = others.length === 0 ? '' : `; ${others.join(' and ')} could mount them with the host's kernel if set as mount_driver`;
    throw new MountError('mount_driver_unavailable', `this machine cannot mount disks (${reasons.join('; ')}${choice})`);
  }
}
