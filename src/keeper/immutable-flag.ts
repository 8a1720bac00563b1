import { runTool } from '../lib/process/run-tool.js';
import { immutabilityIn, type NamedAttribute } from '../lib/files/immutable-attribute.js';

/** Where a tool finds the first file that it inherits: 0 to 2 are its own, and 3 is not used. */
const PINNED = '/proc/self/fd/4';

/**
 * Sets or clears the attribute that lets nobody change, rename, link or remove a file. The folder is an open descriptor, and chattr opens the name in it without
 * following a symbolic link (e2fsprogs since 1.46), so nobody can redirect it to another file.
 * @param folder descriptor of the folder
 * @throws ToolError
 */
export async function setImmutable(folder: number, names: readonly string[], immutable: boolean): Promise<void> {
  if (names.length === 0) return;
  const paths = names.map((name) => `${PINNED}/${name}`);
  await runTool(['chattr', immutable ? '+i' : '-i', '--', ...paths], { inherited: [folder], env: { LC_ALL: 'C' } });
}

/** Names in the folder with their attribute. @param folder descriptor */
export function attributesIn(folder: number): Promise<readonly NamedAttribute[]> {
  return immutabilityIn(`${PINNED}/.`, [folder]);
}
