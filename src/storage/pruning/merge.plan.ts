import { type ImageChain, imageNode } from '../../lib/qemu/image-chain.plan.js';

type Argv = readonly [string, ...string[]];

/**
 * Writes the data of layers into a copy of the file below them. Only the copy and the overlay are opened for writing.
 * @param overlay an empty image of the same size, which qemu-img opens for writing in place of the topmost layer
 * @param layers oldest first
 */
export function commitArgv(copy: string, layers: ImageChain, overlay: string): Argv {
  // Without `backing`, qemu takes that of the header: qemu-img then finds the node by its file name. Zeroes stay unallocated.
  const bottom = { driver: 'qcow2', discard: 'unmap', 'detect-zeroes': 'unmap', file: { driver: 'file', filename: copy } };
  // A commit would lock the layers against readers, which it does not disturb: it only reads them.
  const nodes = [...layers.map((filename) => ({ driver: 'file', filename, locking: 'off' })), { driver: 'file', filename: overlay }];
  let graph: object = bottom;
  for (const file of nodes) graph = { driver: 'qcow2', file, backing: graph };
  return ['qemu-img', 'commit', '-q', '-d', '-b', copy, `json:${JSON.stringify(graph)}`];
}

/** Compares two chains as disks, byte for byte. Exit code 0: equal, 1: different. */
export function compareChainsArgv(one: ImageChain, other: ImageChain): Argv {
  const [a, b] = [one, other].map((chain) => `json:${JSON.stringify(imageNode(chain))}`) as [string, string]; // of two
  return ['qemu-img', 'compare', a, b];
}
