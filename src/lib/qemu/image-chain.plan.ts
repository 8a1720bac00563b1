/** QCOW2 files that make up one disk, absolute paths, oldest first: each stands on the one before it, and the first on nothing. */
export type ImageChain = readonly [string, ...string[]];

interface ImageNode {
  readonly driver: 'qcow2';
  readonly file: { readonly driver: 'file'; readonly filename: string };
  readonly backing: ImageNode | null;
}

/** The chain as qemu's block graph, so that what stands on what follows from here and not from the headers of the files. */
export function imageNode(chain: ImageChain): ImageNode {
  let below: ImageNode | null = null;
  for (const filename of chain) below = { driver: 'qcow2', file: { driver: 'file', filename }, backing: below };
  if (below === null) throw new Error('a chain has at least one file');
  return below;
}

/** What qemu's tools take in place of a file name; with it goes no format, because the driver is part of it. */
export function imageFileName(chain: ImageChain): string {
  return `json:${JSON.stringify(imageNode(chain))}`;
}
