/** The QCOW2 files of one disk, absolute paths, oldest first: each is backed by the previous one, and the first by nothing. */
export type ImageChain = readonly [string, ...string[]];

interface ImageNode {
  readonly driver: 'qcow2';
  readonly file: { readonly driver: 'file'; readonly filename: string };
  readonly backing: ImageNode | null;
}

/** The chain as qemu's block graph, so that this graph and not the headers of the files determines the backing files. */
export function imageNode(chain: ImageChain): ImageNode {
  let below: ImageNode | null = null;
  for (const filename of chain) below = { driver: 'qcow2', file: { driver: 'file', filename }, backing: below };
  if (below === null) throw new Error('a chain has at least one file');
  return below;
}

/** A file name argument for qemu's tools; used without a format option, because it includes the driver. */
export function imageFileName(chain: ImageChain): string {
  return `json:${JSON.stringify(imageNode(chain))}`;
}
