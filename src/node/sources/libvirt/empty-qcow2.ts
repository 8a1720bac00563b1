import { open } from 'node:fs/promises';
import { ClusterMap, metadataCluster, qcow2Layout } from '../../../lib/qemu/qcow2-layout.plan.js';

/**
 * Creates a QCOW2 file without data or backing file: the whole disk reads as zero. Overwrites an existing file. @param sizeBytes of the disk, a multiple of 512
 */
export async function writeEmptyQcow2(path: string, sizeBytes: number): Promise<void> {
  const layout = qcow2Layout(new ClusterMap(sizeBytes));
  const file = await open(path, 'w');
  try {
    for (let cluster = 0; cluster < layout.metadataClusters; cluster++) await file.writeFile(metadataCluster(layout, cluster));
  } finally {
    await file.close();
  }
}
