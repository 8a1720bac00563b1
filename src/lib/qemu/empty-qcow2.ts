import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { CLUSTER_BYTES, ClusterMap, metadataCluster, namingBacking, qcow2Layout } from './qcow2-layout.plan.js';

const SECTOR_BYTES = 512;

/**
 * Creates a QCOW2 file without data, without starting qemu-img: the whole disk reads as zero, or as its backing file. Overwrites an existing file, but never
 * through a symbolic link. @param sizeBytes of the disk; rounded up to whole sectors, as qemu does @param backing name of a QCOW2 file, relative to this file's directory or absolute;
 * it is not looked at
 */
export async function writeEmptyQcow2(path: string, sizeBytes: number, backing: string | null = null): Promise<void> {
  const layout = qcow2Layout(new ClusterMap(Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES));
  const file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW, 0o644);
  try {
    for (let cluster = 0; cluster < layout.metadataClusters; cluster++) {
      const bytes = metadataCluster(layout, cluster);
      if (cluster === 0 && backing !== null) namingBacking(bytes, backing);
      const used = bytes.findLastIndex((byte) => byte !== 0) + 1;
      if (used > 0) await file.write(bytes, 0, used, cluster * CLUSTER_BYTES);
    }
    await file.truncate(layout.totalBytes);
  } finally {
    await file.close();
  }
}
