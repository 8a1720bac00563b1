import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { exposesKernel, type HubConfig } from '../../../hub/hub.config.js';
import { type Check, fail, pass, skip, type Verdict, warn, worst } from '../model/check.plan.js';

/** Paths at which the kernel exposes its features. */
export interface KernelPlaces {
  readonly fuse: string;
  readonly loopControl: string;
  readonly nbdModule: string;
  readonly limits: string;
}

export const KERNEL_PLACES: KernelPlaces = { fuse: '/dev/fuse', loopControl: '/dev/loop-control', nbdModule: '/sys/module/nbd', limits: '/proc/self/limits' };
const FEWEST_OPEN_FILES = 4096;

/**
 * The kernel features that the hub needs to show the files of a restore point and to serve many exports at once.
 * @param hubPid the running hub; null: the hub is not running, and this process is checked instead
 */
export function kernelChecks(config: HubConfig, hubPid: number | null, places: KernelPlaces): readonly Check[] {
  const wanted = config.mountDriver;
  return [
    {
      id: 'kernel_fuse',
      role: 'hub',
      title: 'FUSE, for browsing restore points',
      run: async () => {
        if (wanted === 'nbd') return skip('mount_driver is nbd');
        if (await usable(places.fuse)) return pass(`${places.fuse} can be used`);
        return fail(`${places.fuse} cannot be opened for reading and writing`, 'Load the module (modprobe fuse), and give the hub access to the device.');
      },
    },
    {
      id: 'kernel_loop',
      role: 'hub',
      title: 'loop devices, for browsing restore points',
      run: async () => {
        if (wanted !== 'fuse') return skip(`mount_driver is ${wanted}`);
        if (await usable(places.loopControl)) return pass(`${places.loopControl} can be used`);
        return fail(
          `${places.loopControl} cannot be opened for reading and writing`,
          'Load the module (modprobe loop) and run the hub with permission to mount, or install libguestfs-tools and set mount_driver to guestfs.',
        );
      },
    },
    {
      id: 'kernel_nbd',
      role: 'hub',
      title: 'the nbd module, for browsing restore points',
      run: async () => {
        if (wanted !== 'nbd') return skip(`mount_driver is ${wanted}`);
        if (await isThere(places.nbdModule)) return pass('the module nbd is loaded');
        return fail('the module nbd is not loaded', 'modprobe nbd max_part=16; to load it at every boot, add nbd to /etc/modules-load.d/sendense.conf.');
      },
    },
    {
      id: 'guest_data',
      role: 'hub',
      title: 'guest file systems are isolated from the host',
      run: async () => {
        const uid = hubPid === null ? process.getuid?.() : await ownerOf(hubPid);
        const found: Verdict[] = [];
        if (exposesKernel(wanted)) {
          const remedy = 'Leave mount_driver at auto, which uses the sandbox (libguestfs-tools).';
          found.push(warn(`mount_driver ${wanted} makes the kernel of this machine read guest-written data`, remedy));
        }
        if (uid === 0) {
          const remedy = 'Install it as a service (docs/deployment.md), which runs under its own account.';
          found.push(warn('the hub runs as root, and so do the tools that read disks and images', remedy));
        }
        return worst(found, 'they are mounted in a sandbox, and the hub is not root');
      },
    },
    {
      id: 'open_files',
      role: 'hub',
      title: 'limit of open files',
      run: async () => {
        const ofHub = hubPid === null ? null : await readFile(`/proc/${hubPid}/limits`, 'utf8').catch(() => null);
        const limit = /^Max open files\s+(\d+|unlimited)/m.exec(ofHub ?? (await readFile(places.limits, 'utf8')))?.[1] ?? '';
        const whose = ofHub === null ? 'here, as the hub is not running' : `of the hub (pid ${hubPid})`;
        if (limit === 'unlimited' || Number(limit) >= FEWEST_OPEN_FILES) return pass(`${limit} ${whose}`);
        return warn(
          `${limit === '' ? 'unknown' : limit} ${whose}, which many exports and clients may reach`,
          `Set LimitNOFILE=65536 for the service (systemctl edit sendense-hub), or run ulimit -n 65536 before starting it by hand; then restart it.`,
        );
      },
    },
  ];
}

/** null: the process has exited. */
async function ownerOf(pid: number): Promise<number | null> {
  return stat(`/proc/${pid}`).then(
    ({ uid }) => uid,
    () => null,
  );
}

async function usable(path: string): Promise<boolean> {
  return access(path, constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
