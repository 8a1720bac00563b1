import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deviceNumber } from './device-number.js';

export interface MountTableEntry {
  /** The mount id in `/proc/<pid>/fdinfo`, unique on the machine across namespaces. */
  readonly mountId: string;
  /** Device number of the file system as in stat(2). Some file systems (btrfs, overlayfs) report a different one for their files. */
  readonly device: bigint;
  readonly mountPoint: string;
  readonly filesystemType: string;
  /** The mounted device or file system. */
  readonly source: string;
  /** Those of the mount, then those of the file system. */
  readonly options: readonly string[];
}

/** All mounts in mount order. Never touches a file system, so it cannot hang on one. */
export async function mountTable(): Promise<readonly MountTableEntry[]> {
  return parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8'));
}

/** The mount that contains an absolute path without symbolic links. */
export function mountOf(path: string, mounts: readonly MountTableEntry[]): MountTableEntry | undefined {
  const above = mounts.filter(({ mountPoint }) => path === mountPoint || path.startsWith(mountPoint.endsWith('/') ? mountPoint : `${mountPoint}/`));
  const deepest = Math.max(...above.map(({ mountPoint }) => mountPoint.length));
  return above.findLast(({ mountPoint }) => mountPoint.length === deepest);
}

/** Mounts at or below a folder, the last one first. */
export async function mountsBelow(folder: string): Promise<readonly MountTableEntry[]> {
  return (await mountTable()).filter(({ mountPoint }) => mountPoint === folder || mountPoint.startsWith(`${folder}/`)).reverse();
}

/** Loop devices whose backing file is `path` or is below it. */
export async function loopDevicesOn(path: string): Promise<readonly string[]> {
  const devices: string[] = [];
  for (const name of await readdir('/sys/block').catch(() => [])) {
    if (!name.startsWith('loop')) continue;
    const text = await readFile(join('/sys/block', name, 'loop/backing_file'), 'utf8').catch(() => null);
    // The kernel marks a deleted backing file.
    const file = text?.replace(/\n$/, '').replace(/ \(deleted\)$/, '');
    if (file !== undefined && (file === path || file.startsWith(`${path}/`))) devices.push(`/dev/${name}`);
  }
  return devices;
}

/** Parses `36 35 98:0 /root /mount/point options [optional fields] - type source super-options`; blanks and backslashes are octal escapes. */
export function parseMountInfo(text: string): readonly MountTableEntry[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [left = '', right = ''] = line.split(' - ');
      const [filesystemType = '', source = '', ofFilesystem = ''] = right.split(' ');
      const [mountId = '', , device = '', , mountPoint = '', ofMount = ''] = left.split(' ');
      const [major = 0n, minor = 0n] = device.split(':').map(BigInt);
      const options = [...ofMount.split(','), ...ofFilesystem.split(',')];
      return { mountId, device: deviceNumber(major, minor), mountPoint: unescape(mountPoint), filesystemType, source: unescape(source), options };
    });
}

function unescape(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
