import { readdir } from 'node:fs/promises';
import { errnoOf } from '../process/system-error.js';

/** The result of an access to a file; null if the file does not exist. */
export async function ifThere<Found>(access: Promise<Found>): Promise<Found | null> {
  try {
    return await access;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}

/** The names in a directory; none if it does not exist. */
export async function namesIn(directory: string): Promise<readonly string[]> {
  return (await ifThere(readdir(directory))) ?? [];
}

/** The names of the folders in a directory; none if it does not exist. */
export async function foldersIn(directory: string): Promise<readonly string[]> {
  const entries = (await ifThere(readdir(directory, { withFileTypes: true }))) ?? [];
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}
