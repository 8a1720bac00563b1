import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ifThere } from '../../../lib/files/if-there.js';

/** Data directory of the node that the hub starts itself; it lies inside the hub's own. */
export function localNodeDirectory(dataDirectory: string): string {
  return join(dataDirectory, 'local-node');
}

/** Id of the node that the hub starts on its own machine and under its own account; null until that node has run for the first time. */
export async function localNodeId(dataDirectory: string): Promise<string | null> {
  return (await ifThere(readFile(join(localNodeDirectory(dataDirectory), 'node.id'), 'utf8')))?.trim() ?? null;
}
