import { readFile } from 'node:fs/promises';

/** The text of a file that a program keeps, such as `node.id`; null: it cannot be read, or is empty. */
export async function keptText(file: string): Promise<string | null> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.trim() || null;
}
