/** Possible formats of a source's disks. */
export type ImageFormat = 'qcow2' | 'raw';

/** An image and its backing files as qemu must open them. The graph is complete: qemu opens these files and none named in a header. */
export interface ImageGraph {
  /** Absolute path. */
  readonly path: string;
  readonly format: ImageFormat;
  /** A block device, not a regular file. */
  readonly isDevice: boolean;
  /** null: open none, even if the header names one. */
  readonly backing: ImageGraph | null;
}

/**
 * A file name argument for qemu's tools. A header can still name an external data file, which qemu has no option to prevent, so images that have one are
 * refused earlier.
 */
export function imageName(image: ImageGraph): string {
  return `json:${JSON.stringify(optionsOf(image))}`;
}

function optionsOf({ path, format, isDevice, backing }: ImageGraph): object {
  const file = { driver: isDevice ? 'host_device' : 'file', filename: path };
  return format === 'raw' ? { driver: 'raw', file } : { driver: 'qcow2', file, backing: backing === null ? null : optionsOf(backing) };
}
