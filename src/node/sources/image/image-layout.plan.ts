import type { ImageFormat } from '../../../lib/qemu/image-graph.plan.js';

const DISK_FILE = /\.(qcow2|img|raw)$/i;

/** Names that may be disks of a VM, in natural order (disk2 before disk10), the same at every call: the order numbers the disks. */
export function diskFileNames(names: readonly string[]): readonly string[] {
  // A fixed locale: the numbering of disks must not hang on the environment of the service.
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

/** The format that a disk file's name stands for: the guest of a raw disk writes its first bytes, so they decide nothing. null: the name does not tell. */
export function formatOfName(name: string): ImageFormat | null {
  if (/\.qcow2$/i.test(name)) return 'qcow2';
  return /\.(raw|img)$/i.test(name) ? 'raw' : null;
}

export const HEAD_BYTES = 32;

/**
 * Why a raw file is not believed to be raw. `.img` is also what some call QCOW2 images, and such a file copied as raw would be no backup of the disk.
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

/** Of the candidates those that are not merely the parent of another one. @param backingFiles the parents of each candidate's chain, as real paths */
export function withoutParents<Candidate extends { readonly path: string; readonly backingFiles: readonly string[] }>(
  candidates: readonly Candidate[],
): readonly Candidate[] {
  const parents = new Set(candidates.flatMap((candidate) => candidate.backingFiles));
  return candidates.filter((candidate) => !parents.has(candidate.path));
}
