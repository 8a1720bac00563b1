/** What the disks of a source may be. */
export type ImageFormat = 'qcow2' | 'raw';

/** An image and its backing files as qemu is to open them. The graph is complete: qemu opens these files and none that a header names. */
export interface ImageGraph {
  /** Absolute path. */
  readonly path: string;
  readonly format: ImageFormat;
  /** A block device, not a regular file. */
  readonly isDevice: boolean;
  /** null: none is opened, also where the header names one. */
  readonly backing: ImageGraph | null;
}

/**
 * What qemu's tools take in place of a file name. An external data file is the one thing that a header can still name (qemu has no option against it), so images that have one are refused
 * before.
 */
export function imageName(image: ImageGraph): string {
  return `json:${JSON.stringify(optionsOf(image))}`;
}

function optionsOf({ path, format, isDevice, backing }: ImageGraph): object {
  const file = { driver: isDevice ? 'host_device' : 'file', filename: path };
  return format === 'raw' ? { driver: 'raw', file } : { driver: 'qcow2', file, backing: backing === null ? null : optionsOf(backing) };
}
