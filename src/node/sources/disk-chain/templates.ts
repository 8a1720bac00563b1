import { sep } from 'node:path';
import { realPaths } from '../image/real-paths.js';

/**
 * Whether disks of any VM may use a file as a backing file: it is one of the node's templates, or below one that is a folder. Anyone who can write there
 * controls the content of those VMs' backups.
 * @param realPath without symbolic links; @param templates absolute paths
 */
export async function isTemplate(realPath: string, templates: readonly string[]): Promise<boolean> {
  return (await realPaths(templates)).some((template) => realPath === template || realPath.startsWith(template === sep ? sep : `${template}${sep}`));
}
