import { type ImageChain, imageFileName, imageNode } from '../../lib/qemu/image-chain.plan.js';

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

/** Writes a chain's content into one new file without a backing file. @param bytesPerSecond null: not limited */
export function flattenArgv(chain: ImageChain, target: string, bytesPerSecond: number | null): Argv {
  const limit = bytesPerSecond === null ? [] : ['-r', `${bytesPerSecond}`];
  return ['qemu-img', 'convert', '-q', ...limit, '-O', 'qcow2', imageFileName(chain), target];
}

/** Compares two chains as disks, byte for byte. Exit code 0: equal, 1: different. */
export function compareChainsArgv(one: ImageChain, other: ImageChain): Argv {
  const [a, b] = [one, other].map((chain) => `json:${JSON.stringify(imageNode(chain))}`) as [string, string]; // of two
  return ['qemu-img', 'compare', a, b];
}

/** Prints the extents of a chain as JSON, one a line. */
export function mapArgv(chain: ImageChain): Argv {
  return ['qemu-img', 'map', '--output=json', imageFileName(chain)];
}

/**
 * The areas for which a chain stores something, data or zeroes; for the others it shows what it would be based on.
 * @param lines of mapArgv
 */
export async function* storedAreas(lines: AsyncIterable<string>): AsyncGenerator<readonly [start: number, end: number]> {
  let area: readonly [start: number, end: number] | null = null;
  for await (const line of lines) {
    if (!line.includes('{')) continue;
    const [, start, length, present] = /"start": (\d+), "length": (\d+), .*"present": (true|false)/.exec(line) ?? [];
    if (start === undefined || length === undefined) throw new Error(`cannot parse the output of qemu-img map: ${line.slice(0, 200)}`);
    if (present === 'false') continue;
    const end = Number(start) + Number(length);
    if (area?.[1] === Number(start)) {
      area = [area[0], end];
      continue;
    }
    if (area !== null) yield area;
    area = [Number(start), end];
  }
  if (area !== null) yield area;
}
