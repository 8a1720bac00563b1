import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface SmallFileSystem {
  readonly path: string;
  remove(): Promise<void>;
}

/** A file system of its own with so little space that it can be filled. null where mounting is not allowed, with the reason printed; an error with CI=true. */
export async function mountSmallFileSystem(path: string, mib: number): Promise<SmallFileSystem | null> {
  await mkdir(path, { recursive: true });
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${mib}m`, 'tmpfs', path]);
  } catch (error) {
    if (process.env['CI'] === 'true') throw error;
    process.stderr.write(`skipped: mounting a tmpfs is not allowed here (${error instanceof Error ? error.message.split('\n')[0] : ''})\n`);
    return null;
  }
  return {
    path,
    remove: async () => {
      await run('umount', [path]);
    },
  };
}
