import { sep } from 'node:path';
import { realPaths } from '../image/real-paths.js';

/**
 * Whether a file is one that disks of any VM may stand on: one of the node's templates, or below one that is a folder. Whoever writes there decides what those VMs' backups hold.
 * @param realPath without symbolic links; @param templates absolute paths
 */
export async function isTemplate(realPath: string, templates: readonly string[]): Promise<boolean> {
  return (await realPaths(templates)).some((template) => realPath === template || realPath.startsWith(template === sep ? sep : `${template}${sep}`));
}
