const DISK_FILE = /\.(qcow2|img|raw)$/i;

/** Names that may be disks of a VM, in natural order (disk2 before disk10), the same at every call: the order numbers the disks. */
export function diskFileNames(names: readonly string[]): readonly string[] {
  // A fixed locale: the numbering of disks must not hang on the environment of the service.
  const order = new Intl.Collator('en', { numeric: true });
  return names
    .filter((name) => DISK_FILE.test(name) && !name.startsWith('.'))
    .sort((left, right) => order.compare(left, right) || (left < right ? -1 : left > right ? 1 : 0));
}

export type ImageFormat = 'qcow2' | 'raw';
export type FormatVerdict = { readonly format: ImageFormat } | { readonly problem: string };

const OTHER_FORMATS: readonly (readonly [string, string])[] = [
  ['KDMV', 'VMDK'],
  ['COWD', 'VMDK'],
  ['vhdxfile', 'VHDX'],
  ['conectix', 'VHD'],
  ['<<< ', 'VDI'],
  ['QED\0', 'QED'],
];

/**
 * What a file is by its name and its first bytes. `.raw` is believed, because in a raw disk the guest writes the first bytes and could pretend anything;
 * `.img` is looked into, because both formats use that name.
 * @param head the file's first bytes as Latin-1 text, 8 or fewer
 */
export function imageFormat(name: string, head: string): FormatVerdict {
  const isQcow2 = head.startsWith('QFI\xfb');
  if (/\.raw$/i.test(name)) return { format: 'raw' };
  if (isQcow2) return { format: 'qcow2' };
  if (/\.qcow2$/i.test(name)) return { problem: 'It is named .qcow2 but does not begin like a QCOW2 image.' };
  const other = OTHER_FORMATS.find(([magic]) => head.startsWith(magic));
  return other === undefined ? { format: 'raw' } : { problem: `It is a ${other[1]} image; only qcow2 and raw images can be backed up.` };
}

/** Of the candidates those that are not merely the parent of another one. @param backingFiles the parents of each candidate's chain, as real paths */
export function withoutParents<Candidate extends { readonly realPath: string | null; readonly backingFiles: readonly string[] }>(
  candidates: readonly Candidate[],
): readonly Candidate[] {
  const parents = new Set(candidates.flatMap((candidate) => candidate.backingFiles));
  return candidates.filter((candidate) => candidate.realPath === null || !parents.has(candidate.realPath));
}
