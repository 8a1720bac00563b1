import { opendirSync, type Stats } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { BrowserError, type GuestFile, type GuestFileType, type GuestPage, type ListRequest, type PathText } from './browser-protocol.js';
import { bytesOf, encodeNames } from './guest-name.js';

const MAX_LINKS = 40;
const MAX_NAME_BYTES = 255;
/** Concurrent lstat calls. */
const PARALLEL = 16;
const NAMES_AT_ONCE = 2_000;
/** Time limit for counting a whole tree. */
const COUNT_BUDGET_MS = 300;
/** Directories whose names are cached; a mounted disk never changes. */
const KEPT_FOLDERS = 4;
/** Minimum number of names for a directory to be cached. */
const KEPT_FROM = 2_000;

/** Names from the root down, one character per byte; never `.`, `..` or empty. */
export type GuestPath = readonly string[];

interface Found {
  readonly path: GuestPath;
  readonly stats: Stats;
}

/**
 * Walks and reads a guest's tree below one host directory and nowhere else. A path is followed name by name. Links are resolved as the guest would resolve
 * them, relative to its own root; the host's kernel never resolves one.
 */
export class GuestTree {
  private readonly kept = new Map<string, { readonly names: string[]; sorted: boolean }>();

  constructor(private readonly root: string) {}

  /** The path on the host. */
  hostPath(path: GuestPath): Buffer {
    return Buffer.concat([Buffer.from(this.root), Buffer.from(path.map((name) => `/${name}`).join(''), 'latin1')]);
  }

  /** @param followed whether to follow a link in the last component too. @throws BrowserError */
  async find(text: PathText, followed: boolean): Promise<Found> {
    const wanted = parsePath(text);
    let path: string[] = [];
    let stats = await this.stat([]);
    const ahead = [...wanted];
    for (let links = 0; ahead.length > 0;) {
      const name = ahead.shift() ?? '';
      if (name === '' || name === '.') continue;
      if (name === '..') {
        if (path.pop() === undefined)
          throw new BrowserError('link_leaves_mount', 'a symbolic link in this path leads out of the file system and is not followed');
        stats = await this.stat(path);
        continue;
      }
      if (!stats.isDirectory()) throw new BrowserError('not_a_directory', `${shown(path)} is not a directory`);
      const next = [...path, name];
      const nextStats = await this.stat(next);
      if (nextStats.isSymbolicLink() && (followed || ahead.length > 0)) {
        if (++links > MAX_LINKS) throw new BrowserError('link_loop', `this path has more than ${MAX_LINKS} symbolic links`);
        const target = await this.target(next);
        ahead.unshift(...target.split('/'));
        if (target.startsWith('/')) {
          path = [];
          stats = await this.stat(path);
        }
        continue;
      }
      path = next;
      stats = nextStats;
    }
    return { path, stats };
  }

  async info(request: PathText & { readonly followed: boolean }): Promise<GuestFile> {
    const { path, stats } = await this.find(request, request.followed);
    return this.describe(path, stats);
  }

  async list(request: ListRequest): Promise<GuestPage> {
    const { path, stats } = await this.find(request, true);
    if (!stats.isDirectory()) throw new BrowserError('not_a_directory', `${shown(path)} is not a directory`);
    const { encoding, texts } = encodeNames([`/${path.join('/')}`]);
    const page = request.recursive ? await this.listTree(path, request) : await this.listFolder(path, request);
    return { path: texts[0], name_encoding: encoding, ...page };
  }

  /** Names in a directory, in byte order. @throws BrowserError */
  async names(path: GuestPath): Promise<readonly string[]> {
    return (await this.read(path)).toSorted(byBytes);
  }

  async target(path: GuestPath): Promise<string> {
    return readlink(this.hostPath(path), 'latin1').catch((error: unknown) => {
      throw browserErrorOf(error, path);
    });
  }

  async stat(path: GuestPath): Promise<Stats> {
    return lstat(this.hostPath(path)).catch((error: unknown) => {
      throw browserErrorOf(error, path);
    });
  }

  private async listFolder(path: GuestPath, { after, limit }: ListRequest): Promise<Pick<GuestPage, 'files' | 'total_count' | 'next_after'>> {
    const names = await this.folder(path);
    const page = smallestAfter(names.names, names.sorted, after, limit + 1);
    // A request for the second page suggests that the rest will follow.
    if (after !== null && !names.sorted) {
      names.names.sort(byBytes);
      names.sorted = true;
    }
    const given = page.slice(0, limit);
    const files = await this.describeAll(given.map((name) => [...path, name]));
    return { files, total_count: names.names.length, next_after: page.length > limit ? (given.at(-1) ?? null) : null };
  }

  private async listTree(path: GuestPath, { after, limit }: ListRequest): Promise<Pick<GuestPage, 'files' | 'total_count' | 'next_after'>> {
    const files: GuestFile[] = [];
    let last: GuestPath | null = null;
    let more = false;
    for await (const batch of this.walk(path, after === null ? null : after.split('/'), limit + 1)) {
      for (const found of batch) {
        if (files.length === limit) {
          more = true;
          break;
        }
        files.push(found.file);
        last = found.path;
      }
      if (more) break;
    }
    return { files, total_count: await this.count(path), next_after: more && last !== null ? last.slice(path.length).join('/') : null };
  }

  /** The tree below a directory in byte order, each directory before its content, starting after `after`. Links are not followed. */
  private async *walk(
    path: GuestPath,
    after: GuestPath | null,
    limit: number,
  ): AsyncGenerator<readonly { readonly path: GuestPath; readonly file: GuestFile }[]> {
    const [resume, ...deeper] = after ?? [];
    const names = (await this.namesOrNone(path)).filter((name) => resume === undefined || name >= resume);
    for (let index = 0; index < names.length; index += PARALLEL) {
      const paths = names.slice(index, index + Math.min(PARALLEL, limit)).map((name) => [...path, name]);
      const files = await this.describeAll(paths);
      for (const [at, each] of paths.entries()) {
        const file = files[at];
        if (file === undefined) continue;
        const given = each.at(-1) === resume;
        if (!given) yield [{ path: each, file }];
        if (file.type === 'directory') yield* this.walk(each, given && deeper.length > 0 ? deeper : null, limit);
      }
    }
  }

  /** Number of entries below a directory; null when counting takes too long. */
  private async count(path: GuestPath): Promise<number | null> {
    const ends = performance.now() + COUNT_BUDGET_MS;
    const open: GuestPath[] = [path];
    let total = 0;
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      if (performance.now() > ends) return null;
      const here = next;
      const entries = await readdir(this.hostPath(here), { encoding: 'latin1', withFileTypes: true }).catch(() => []);
      total += entries.length;
      for (const entry of entries) if (entry.isDirectory()) open.push([...here, entry.name]);
    }
    return total;
  }

  private async describeAll(paths: readonly GuestPath[]): Promise<readonly GuestFile[]> {
    const files: GuestFile[] = [];
    for (let index = 0; index < paths.length; index += PARALLEL) {
      files.push(
        ...(await Promise.all(
          paths.slice(index, index + PARALLEL).map(async (path) => {
            try {
              return await this.describe(path, await this.stat(path));
            } catch {
              return unreadable(path);
            }
          }),
        )),
      );
    }
    return files;
  }

  private async describe(path: GuestPath, stats: Stats): Promise<GuestFile> {
    const target = stats.isSymbolicLink() ? await this.target(path) : null;
    const { encoding, texts } = encodeNames([path.at(-1) ?? '/', `/${path.join('/')}`, target]);
    return {
      name: texts[0],
      path: texts[1],
      name_encoding: encoding,
      type: typeOf(stats),
      size: stats.size,
      mode: (stats.mode & 0o7777).toString(8).padStart(4, '0'),
      uid: stats.uid,
      gid: stats.gid,
      modified_time: timeOf(stats.mtimeMs),
      is_symlink: stats.isSymbolicLink(),
      link_target: texts[2],
    };
  }

  private async folder(path: GuestPath): Promise<{ names: string[]; sorted: boolean }> {
    const key = path.join('/');
    const known = this.kept.get(key);
    if (known !== undefined) return known;
    const read = { names: await this.read(path), sorted: false };
    if (read.names.length >= KEPT_FROM) {
      this.kept.set(key, read);
      const oldest = this.kept.keys().next();
      if (this.kept.size > KEPT_FOLDERS && oldest.done !== true) this.kept.delete(oldest.value);
    }
    return read;
  }

  /**
   * Synchronous, because `readdir` (which also sorts) takes twice as long for a large directory, and this process reads only one mount. A file system that does
   * not report entry types is read with `readdir`, because opendir would stat each entry by its decoded name.
   */
  private async read(path: GuestPath): Promise<string[]> {
    try {
      const folder = opendirSync(this.hostPath(path), { encoding: 'latin1', bufferSize: NAMES_AT_ONCE });
      try {
        const names: string[] = [];
        for (let entry = folder.readSync(); entry !== null; entry = folder.readSync()) names.push(entry.name);
        return names;
      } finally {
        folder.closeSync();
      }
    } catch {
      return readdir(this.hostPath(path), 'latin1').catch((error: unknown) => {
        throw browserErrorOf(error, path);
      });
    }
  }

  /** An unreadable directory appears in the listing, but without content. */
  private async namesOrNone(path: GuestPath): Promise<readonly string[]> {
    return this.names(path).catch(() => []);
  }
}

/** @throws BrowserError `path_invalid` for `..`, NUL, a slash within a name, or a malformed encoding */
export function parsePath({ path, encoding }: PathText): GuestPath {
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  return names.map((name) => {
    const bytes = bytesOf(name, encoding);
    if (bytes === null) throw new BrowserError('path_invalid', 'a % in a percent-encoded path must be followed by two hex digits');
    if (bytes === '..' || bytes === '.' || bytes.includes('/') || bytes.includes('\0')) {
      throw new BrowserError('path_invalid', 'a path must not contain "..", a NUL byte, or a slash within a name');
    }
    if (bytes.length > MAX_NAME_BYTES) throw new BrowserError('path_too_long', `a name in a path must not exceed ${MAX_NAME_BYTES} bytes`);
    return bytes;
  });
}

export function typeOf(stats: Stats): GuestFileType {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  if (stats.isSymbolicLink()) return 'symlink';
  if (stats.isBlockDevice()) return 'block_device';
  if (stats.isCharacterDevice()) return 'char_device';
  return stats.isFIFO() ? 'fifo' : 'socket';
}

export function browserErrorOf(error: unknown, path: GuestPath): BrowserError {
  if (error instanceof BrowserError) return error;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'ENOENT':
      return new BrowserError('file_not_found', `${shown(path)} does not exist in this file system`);
    case 'ENOTDIR':
      return new BrowserError('not_a_directory', `${shown(path.slice(0, -1))} is not a directory`);
    case 'ENAMETOOLONG':
      return new BrowserError('path_too_long', 'the path is too long for this machine');
    case 'ELOOP':
      return new BrowserError('not_a_regular_file', `${shown(path)} is a symbolic link`);
    default:
      return new BrowserError(
        'file_unreadable',
        `${shown(path)} cannot be read (${typeof code === 'string' ? code : String(error)}); its file system is probably damaged there`,
      );
  }
}

/** Formats a path for messages. */
export function shown(path: GuestPath): string {
  return JSON.stringify(encodeNames([`/${path.join('/')}`]).texts[0]);
}

function unreadable(path: GuestPath): GuestFile {
  const { encoding, texts } = encodeNames([path.at(-1) ?? '/', `/${path.join('/')}`]);
  return {
    name: texts[0],
    path: texts[1],
    name_encoding: encoding,
    type: 'unreadable',
    size: 0,
    mode: '0000',
    uid: 0,
    gid: 0,
    modified_time: null,
    is_symlink: false,
    link_target: null,
  };
}

function timeOf(milliseconds: number): string | null {
  const time = new Date(milliseconds);
  return Number.isNaN(time.getTime()) ? null : time.toISOString();
}

function byBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The first `count` names after `after` in byte order, without sorting all names. */
export function smallestAfter(names: readonly string[], sorted: boolean, after: string | null, count: number): readonly string[] {
  if (sorted) {
    const from = after === null ? 0 : firstAbove(names, after);
    return names.slice(from, from + count);
  }
  let best: string[] = [];
  let bound: string | null = null;
  for (const name of names) {
    if ((after !== null && name <= after) || (bound !== null && name >= bound)) continue;
    best.push(name);
    if (best.length >= 4 * count) {
      best = best.sort(byBytes).slice(0, count);
      bound = best.at(-1) ?? null;
    }
  }
  return best.sort(byBytes).slice(0, count);
}

function firstAbove(names: readonly string[], after: string): number {
  let low = 0;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((names[middle] ?? '') <= after) low = middle + 1;
    else high = middle;
  }
  return low;
}
