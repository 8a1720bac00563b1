/** Read in whole sectors: qemu's raw driver serves nothing smaller. */
const SECTOR = 512;

export interface DiskSlice {
  /** From 0, in bytes. */
  readonly start: number;
  /** Inclusive. */
  readonly end: number;
}

/**
 * Writes a slice of a QCOW2 file's guest-visible content to standard output, with all that it stands on. nbdcopy starts the server itself and hands it its socket, so there is
 * nothing to find or clean up afterwards: the server ends when nbdcopy does.
 * @returns argv, and how many bytes at the start of the output are before the slice
 */
export function sliceArgv(file: string, slice: DiskSlice, diskBytes: number): { readonly argv: readonly [string, ...string[]]; readonly skip: number } {
  const offset = Math.floor(slice.start / SECTOR) * SECTOR;
  const end = Math.min(diskBytes, Math.ceil((slice.end + 1) / SECTOR) * SECTOR);
  const image = { driver: 'raw', offset, size: end - offset, file: { driver: 'qcow2', file: { driver: 'file', filename: file } } };
  return { argv: ['nbdcopy', '--', '[', 'qemu-nbd', '--read-only', `json:${JSON.stringify(image)}`, ']', '-'], skip: slice.start - offset };
}

/**
 * The one range that an HTTP Range header asks for; null: all of it, also for a header that is none or asks for several ranges, which a server may answer with the whole.
 * `unsatisfiable`: it begins behind the end.
 */
export function rangeOf(header: string | undefined, size: number): DiskSlice | null | 'unsatisfiable' {
  const [, first = '', last = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? '') ?? [];
  if (first === '' && last === '') return null;
  if (first === '') return Number(last) === 0 ? 'unsatisfiable' : { start: Math.max(0, size - Number(last)), end: size - 1 };
  const start = Number(first);
  if (start >= size) return 'unsatisfiable';
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  return end < start ? null : { start, end };
}
