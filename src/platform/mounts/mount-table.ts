import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface MountTableEntry {
  readonly mountPoint: string;
  readonly filesystemType: string;
  /** What is mounted. */
  readonly source: string;
}

/** What is mounted where, in the order of mounting. Never touches a file system, so it cannot hang on one. */
export async function mountTable(): Promise<readonly MountTableEntry[]> {
  return parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8'));
}

/** Mounts at or below a folder, the last one first. */
export async function mountsBelow(folder: string): Promise<readonly MountTableEntry[]> {
  return (await mountTable()).filter(({ mountPoint }) => mountPoint === folder || mountPoint.startsWith(`${folder}/`)).reverse();
}

/** Loop devices whose backing file is `path` or lies below it. */
export async function loopDevicesOn(path: string): Promise<readonly string[]> {
  const devices: string[] = [];
  for (const name of await readdir('/sys/block').catch(() => [])) {
    if (!name.startsWith('loop')) continue;
    const text = await readFile(join('/sys/block', name, 'loop/backing_file'), 'utf8').catch(() => null);
    // The kernel marks a file that is not there any more.
    const file = text?.replace(/\n$/, '').replace(/ \(deleted\)$/, '');
    if (file !== undefined && (file === path || file.startsWith(`${path}/`))) devices.push(`/dev/${name}`);
  }
  return devices;
}

/** `36 35 98:0 /root /mount/point options [optional fields] - type source super-options`; blanks and backslashes are octal escapes. */
export function parseMountInfo(text: string): readonly MountTableEntry[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [left = '', right = ''] = line.split(' - ');
      const [filesystemType = '', source = ''] = right.split(' ');
      return { mountPoint: unescape(left.split(' ')[4] ?? ''), filesystemType, source: unescape(source) };
    });
}

function unescape(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
