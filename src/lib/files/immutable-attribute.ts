import { isAbsolute } from 'node:path';
import { runTool } from '../process/run-tool.js';

export type NamedAttribute = { readonly name: string; readonly immutable: boolean };

/** `lsattr` prints its flags in a column of this form; see chattr(1). */
const LINE = /^([A-Za-z-]{8,40}) (\/.*)$/;

/**
 * Names in a folder, each with whether the file system lets nobody change, rename or remove it (`chattr +i`). Only files that this account may read are shown,
 * and none where the file system has no such attribute.
 * @param inherited open files that lsattr inherits, if the folder is one of them
 * @throws ToolError when lsattr is missing or does not end
 */
export async function immutabilityIn(folder: string, inherited?: readonly number[]): Promise<readonly NamedAttribute[]> {
  if (!isAbsolute(folder)) throw new Error(`"${folder}" is not an absolute path`);
  // The exit code says only that something could not be read.
  const { stdout } = await runTool(['lsattr', '-a', '--', folder], { env: { LC_ALL: 'C' }, expectedExitCodes: [0, 1], repeatable: true, inherited });
  return parseAttributes(stdout, folder);
}

/** Lines of other folders are skipped, and so are names with a line break, which no file of ours has. */
export function parseAttributes(listing: string, folder: string): readonly NamedAttribute[] {
  const prefix = `${folder}/`;
  return listing.split('\n').flatMap((line) => {
    const [, flags, path] = LINE.exec(line) ?? [];
    if (flags === undefined || path?.startsWith(prefix) !== true) return [];
    const name = path.slice(prefix.length);
    return name === '.' || name === '..' || name.includes('/') ? [] : [{ name, immutable: flags.includes('i') }];
  });
}
