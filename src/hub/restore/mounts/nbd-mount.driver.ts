import { readdir, readFile, writeFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { imageFileName } from '../../../lib/qemu/image-chain.plan.js';
import { runBounded } from './bounded-tool.js';
import { KernelMountDriver, type RawView } from './kernel-mount.driver.js';
import { MountError, type MountDriverName, type MountOrder, namedResource, processResource } from './mount-driver.port.js';
import { mountLayout, toolDirectory } from './mount-layout.js';

const START_DEADLINE_MS = 15_000;
const LOOK_MS = 10;

/** Exposes the QCOW2 chain as a block device of the kernel's nbd module. */
export class NbdMountDriver extends KernelMountDriver {
  override readonly name: MountDriverName = 'nbd';

  protected override async missing(): Promise<string | null> {
    if ((await nbdDevices()).length === 0) return 'the kernel has no nbd devices; load the module (modprobe nbd)';
    try {
      await runBounded(['qemu-nbd', '--version'], START_DEADLINE_MS);
      return null;
    } catch {
      return 'qemu-nbd is not installed (Debian: qemu-utils)';
    }
  }

  protected override async show(order: MountOrder, signal: AbortSignal): Promise<RawView> {
    const runDirectory = toolDirectory(order.directory, 'qemu-nbd');
    let refusal = 'all are in use';
    for (const device of await freeNbdDevices()) {
      signal.throwIfAborted();
      await this.supervisor.forget(runDirectory);
      // Written first, so that after a crash the release knows which device may belong to this mount.
      await writeFile(mountLayout(order.directory).nbdDevice, device);
      const argv = ['qemu-nbd', '--read-only', `--connect=/dev/${device}`, imageFileName(order.chain)] as const;
      await this.supervisor.start(runDirectory, argv, { rights: 'all' });
      const ends = performance.now() + START_DEADLINE_MS;
      for (;;) {
        signal.throwIfAborted();
        const status = await this.supervisor.status(runDirectory);
        if (status.state !== 'running') {
          refusal = status.state === 'exited' ? status.stderr.trim() : '';
          if (/busy|Failed to set NBD socket/i.test(refusal)) break;
          throw new MountError('restore_point_unreadable', `${order.chain.at(-1) ?? ''} cannot be opened: ${refusal}`);
        }
        const sectors = Number(await readFile(`/sys/block/${device}/size`, 'utf8'));
        if (status.identity !== null && sectors > 0 && (await nbdOwner(device)) === status.identity.pid) {
          return {
            path: `/dev/${device}`,
            sizeBytes: sectors * 512,
            resources: [processResource('qemu-nbd', status.identity), namedResource('nbd_device', `/dev/${device}`)],
          };
        }
        if (performance.now() > ends) throw new MountError('mount_timed_out', `qemu-nbd did not connect /dev/${device} within ${START_DEADLINE_MS} ms`);
        await pause(LOOK_MS);
      }
    }
    throw new MountError('mount_driver_unavailable', `no nbd device is available: ${refusal}`);
  }
}

async function nbdDevices(): Promise<readonly string[]> {
  return (await readdir('/sys/block').catch(() => [])).filter((name) => /^nbd\d+$/.test(name));
}

async function freeNbdDevices(): Promise<readonly string[]> {
  const devices: string[] = [];
  for (const device of await nbdDevices()) if ((await nbdOwner(device)) === null) devices.push(device);
  return devices;
}

/** pid of the process that serves a device; null if the device is free. */
export async function nbdOwner(device: string): Promise<number | null> {
  const text = await readFile(`/sys/block/${device}/pid`, 'utf8').catch(() => null);
  return text === null ? null : Number(text);
}
