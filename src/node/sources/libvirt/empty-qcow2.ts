import { open } from 'node:fs/promises';
import { ClusterMap, metadataCluster, qcow2Layout } from '../../../lib/qemu/qcow2-layout.plan.js';

/** Makes a QCOW2 file that stores nothing and stands on nothing: all of the disk reads as zero. An existing file is overwritten. @param sizeBytes of the disk, a multiple of 512 */
export async function writeEmptyQcow2(path: string, sizeBytes: number): Promise<void> {
  const layout = qcow2Layout(new ClusterMap(sizeBytes));
  const file = await open(path, 'w');
  try {
    for (let cluster = 0; cluster < layout.metadataClusters; cluster++) await file.writeFile(metadataCluster(layout, cluster));
  } finally {
    await file.close();
  }
}
