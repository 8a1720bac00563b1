import { imageNode, type ImageChain } from '../../../lib/qemu/image-chain.plan.js';

/** Reads are whole sectors, the smallest unit of qemu's raw driver. */
const SECTOR = 512;

export interface DiskSlice {
  /** From 0, in bytes. */
  readonly start: number;
  /** Inclusive. */
  readonly end: number;
}

/**
 * Writes a slice of a chain's guest-visible content to standard output. nbdcopy starts the server itself and passes it the socket, so there is
 * nothing to find or clean up afterwards: the server ends when nbdcopy does.
 * @returns argv, and the number of bytes to skip at the start of the output
 */
export function sliceArgv(chain: ImageChain, slice: DiskSlice, diskBytes: number): { readonly argv: readonly [string, ...string[]]; readonly skip: number } {
  const offset = Math.floor(slice.start / SECTOR) * SECTOR;
  const end = Math.min(diskBytes, Math.ceil((slice.end + 1) / SECTOR) * SECTOR);
  const image = { driver: 'raw', offset, size: end - offset, file: imageNode(chain) };
  return { argv: ['nbdcopy', '--', '[', 'qemu-nbd', '--read-only', `json:${JSON.stringify(image)}`, ']', '-'], skip: slice.start - offset };
}
