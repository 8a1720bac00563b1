import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { exposesKernel, type HubConfig } from '../../../hub/hub.config.js';
import { type Check, fail, pass, skip, type Verdict, warn, worst } from '../model/check.plan.js';

/** Where the kernel shows its features. */
export interface KernelPlaces {
  readonly fuse: string;
  readonly loopControl: string;
  readonly nbdModule: string;
  readonly limits: string;
}

export const KERNEL_PLACES: KernelPlaces = { fuse: '/dev/fuse', loopControl: '/dev/loop-control', nbdModule: '/sys/module/nbd', limits: '/proc/self/limits' };
const FEWEST_OPEN_FILES = 4096;

/** What the hub needs of the kernel to show the files of a restore point, and for many exports at once. */
/** @param hubPid the hub that runs; null: none does, and what it would get is looked at here */
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
        return fail(`${places.fuse} cannot be opened for reading and writing`, 'Load the module (modprobe fuse), and let the hub use the device.');
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
          'Load the module (modprobe loop) and run the hub with the right to mount, or install libguestfs-tools and set mount_driver to guestfs.',
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
        return fail('the module nbd is not loaded', 'modprobe nbd max_part=16, and for the next start put nbd into /etc/modules-load.d/sendense.conf.');
      },
    },
    {
      id: 'guest_data',
      role: 'hub',
      title: "guests' file systems are kept from the host",
      run: async () => {
        const uid = hubPid === null ? process.getuid?.() : await ownerOf(hubPid);
        const found: Verdict[] = [];
        if (exposesKernel(wanted)) {
          const remedy = 'Leave mount_driver at auto, which uses the sandbox (libguestfs-tools).';
          found.push(warn(`mount_driver ${wanted} has the kernel of this machine read what guests have written`, remedy));
        }
        if (uid === 0) {
          const remedy = 'Install it as a service (docs/deployment.md), which runs under an account of its own.';
          found.push(warn('the hub runs as root, and so do the tools that read disks and images', remedy));
        }
        return worst(found, 'they are mounted in a sandbox, and the hub does not run as root');
      },
    },
    {
      id: 'open_files',
      role: 'hub',
      title: 'how many files may be open at once',
      run: async () => {
        const ofHub = hubPid === null ? null : await readFile(`/proc/${hubPid}/limits`, 'utf8').catch(() => null);
        const limit = /^Max open files\s+(\d+|unlimited)/m.exec(ofHub ?? (await readFile(places.limits, 'utf8')))?.[1] ?? '';
        const whose = ofHub === null ? 'here, as the hub does not run' : `of the hub (pid ${hubPid})`;
        if (limit === 'unlimited' || Number(limit) >= FEWEST_OPEN_FILES) return pass(`${limit} ${whose}`);
        return warn(
          `${limit === '' ? 'unknown' : limit} ${whose}, which many exports and followers may reach`,
          `Set LimitNOFILE=65536 for the service (systemctl edit sendense-hub), or ulimit -n 65536 before it is started by hand; then start it again.`,
        );
      },
    },
  ];
}

/** null: it has ended. */
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
