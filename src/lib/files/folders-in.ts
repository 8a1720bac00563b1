import { readdir } from 'node:fs/promises';
import { errnoOf } from '../process/system-error.js';

/** The names of the folders in a directory; none if it does not exist. */
export async function foldersIn(directory: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(directory, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}
