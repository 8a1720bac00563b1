import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { readFile, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { makeTemporaryDirectory } from '../../lib/process/temporary-directory.js';
import { runTool } from '../../lib/process/run-tool.js';
import { DeployError } from './deployment.error.js';

const PACK_PATIENCE_MS = 600_000;
/** Paths of a release that only a hub needs, one on each line; deployment/make-archive.sh writes it. */
const NOT_FOR_NODES = 'deployment/not-for-nodes.txt';

/** A release that can be installed on a host. */
export interface ReleaseSource {
  readonly release: string;
  /** Makes the one file that is copied to the host. */
  pack(): Promise<ReleaseArchive>;
}

export interface ReleaseArchive {
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
  /** Removes temporary files. */
  discard(): Promise<void>;
}

/** The script that does the work on the host. */
export function installScript(): Promise<string> {
  return readFile(join(programRoot(), 'deployment/install/install.sh'), 'utf8');
}

/**
 * The release in the given archive, or else the release of this program.
 * @param archive a file made by deployment/make-archive.sh; null: this program's release
 * @throws DeployError when this program runs from a checkout and no archive is given, or the file is not an archive
 */
export async function releaseSource(archive: string | null): Promise<ReleaseSource> {
  if (archive !== null) {
    const file = resolve(archive);
    return { release: await releaseIn(file), pack: () => described(file, () => Promise.resolve()) };
  }
  const root = programRoot();
  if (!existsSync(join(root, 'RELEASE'))) {
    throw new DeployError('this program runs from a checkout: make an archive with deployment/make-archive.sh and name it with --archive');
  }
  return { release: checkedName((await readFile(join(root, 'RELEASE'), 'utf8')).trim(), root), pack: () => packed(root) };
}

async function packed(root: string): Promise<ReleaseArchive> {
  const folder = makeTemporaryDirectory('archive');
  const discard = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    const file = join(folder, 'sendense.tar.gz');
    // -1: packing then takes about as long as copying over a fast network.
    const compress = '--use-compress-program=gzip -1';
    const without = ['--anchored', '--no-wildcards', `--exclude-from=${join(root, NOT_FOR_NODES)}`];
    await runTool(['tar', '-C', root, '--owner=0', '--group=0', '--numeric-owner', compress, ...without, '--transform=s|^[.]|sendense|', '-cf', file, '.'], {
      deadlineMs: PACK_PATIENCE_MS,
    });
    return await described(file, discard);
  } catch (error) {
    await discard();
    throw error;
  }
}

async function releaseIn(file: string): Promise<string> {
  let text: string;
  try {
    // Stops reading after this file, which is at the beginning of the archive.
    const { stdout } = await runTool(['tar', '--occurrence=1', '-xzOf', file, 'sendense/RELEASE'], { deadlineMs: PACK_PATIENCE_MS });
    text = stdout.trim();
  } catch (error) {
    throw new DeployError(`${file} is not an archive made by deployment/make-archive.sh`, { cause: error });
  }
  return checkedName(text, file);
}

/** The name becomes a directory name on the host. */
function checkedName(release: string, where: string): string {
  if (/^[0-9A-Za-z][0-9A-Za-z.+-]*$/.test(release)) return release;
  throw new DeployError(`the RELEASE file of ${where} does not hold a release name`);
}

async function described(file: string, discard: () => Promise<void>): Promise<ReleaseArchive> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return { file, sha256: hash.digest('hex'), bytes: (await stat(file)).size, discard };
}

/** The directory with package.json above the compiled program: of a release, or of a checkout. */
function programRoot(): string {
  for (let folder = import.meta.dirname; folder !== dirname(folder); folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json')) && existsSync(join(folder, 'deployment'))) return folder;
  }
  throw new DeployError(`there is no deployment directory above ${import.meta.dirname}`);
}
