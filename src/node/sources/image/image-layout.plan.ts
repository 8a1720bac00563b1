import type { ImageFormat } from '../../../lib/qemu/image-graph.plan.js';

const DISK_FILE = /\.(qcow2|img|raw)$/i;

/** Names that may be disks of a VM, in natural order (disk2 before disk10). The order numbers the disks, so it never varies. */
export function diskFileNames(names: readonly string[]): readonly string[] {
  // A fixed locale: the numbering of disks must not depend on the service's environment.
  const order = new Intl.Collator('en', { numeric: true });
  return names
    .filter((name) => DISK_FILE.test(name) && !name.startsWith('.'))
    .sort((left, right) => order.compare(left, right) || (left < right ? -1 : left > right ? 1 : 0));
}

const OTHER_FORMATS: readonly (readonly [string, string])[] = [
  ['QFI\xfb', 'QCOW2'],
  ['KDMV', 'VMDK'],
  ['COWD', 'VMDK'],
  ['# Disk DescriptorFile', 'VMDK'],
  ['vhdxfile', 'VHDX'],
  ['conectix', 'VHD'],
  ['<<< ', 'VDI'],
  ['QED\0', 'QED'],
];

/** The format indicated by a disk file's name. A raw disk's first bytes are written by its guest, so they decide nothing. null: the name indicates none. */
export function formatOfName(name: string): ImageFormat | null {
  if (/\.qcow2$/i.test(name)) return 'qcow2';
  return /\.(raw|img)$/i.test(name) ? 'raw' : null;
}

export const HEAD_BYTES = 32;

/**
 * Why a raw file may not be raw. Some name QCOW2 images `.img`, and such a file copied as raw would be no backup of the disk.
 * @param head the file's first bytes as Latin-1 text, HEAD_BYTES or fewer
 */
export function doubtOfRaw(name: string, head: string): string | null {
  if (!/\.img$/i.test(name)) return null;
  const other = OTHER_FORMATS.find(([magic]) => head.startsWith(magic));
  if (other === undefined) return null;
  const [, format] = other;
  const stem = name.slice(0, -'.img'.length);
  return format === 'QCOW2'
    ? `It is named .img, which stands for a raw disk, and begins like a QCOW2 image. If it is one, name it "${stem}.qcow2"; if it is a raw disk whose guest has written that, name it "${stem}.raw".`
    : `It is named .img, which stands for a raw disk, and begins like a ${format} image; only qcow2 and raw images can be backed up. If it is a raw disk whose guest has written that, name it "${stem}.raw".`;
}

/** Removes candidates that are only backing files of others. @param backingFiles of each candidate's chain, as real paths */
export function withoutParents<Candidate extends { readonly path: string; readonly backingFiles: readonly string[] }>(
  candidates: readonly Candidate[],
): readonly Candidate[] {
  const parents = new Set(candidates.flatMap((candidate) => candidate.backingFiles));
  return candidates.filter((candidate) => !parents.has(candidate.path));
}
