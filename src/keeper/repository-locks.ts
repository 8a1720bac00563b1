import { messageOf } from '../kernel/error-message.js';
import { MANIFEST_FILE, MAX_MANIFEST_BYTES, type Manifest, parseManifest, SIGNATURE_FILE } from '../storage/repository-files/manifest.js';
import { MARKER_FILE } from '../storage/repository-files/repository-marker.js';
import { attributesIn, setImmutable } from './immutable-flag.js';
import type { FoundPoint, LockAction } from './locks.plan.js';
import { PinnedFolder } from './pinned-folder.js';

/** What was read is read again after this time, in case somebody else has changed an attribute. */
const FRESH_MS = 600_000;

export type Scan = {
  readonly points: readonly FoundPoint[];
  /** Folders that could not be read, with the reason. Nothing in them is changed. */
  readonly problems: ReadonlyMap<string, string>;
};

type Read = { readonly state: string; readonly read_at: number; readonly point: FoundPoint; readonly text: string };

/** Reads the restore points of one repository, and locks and unlocks them. The contents of the repository are not trusted. */
export class RepositoryLocks {
  private readonly known = new Map<string, Read>();

  constructor(private readonly path: string) {}

  /** @throws Error when the repository cannot be read, or is not there (no marker) */
  async scan(nowMs: number): Promise<Scan> {
    const problems = new Map<string, string>();
    const points: FoundPoint[] = [];
    const root = await PinnedFolder.open(this.path);
    try {
      if ((await root.file(MARKER_FILE)) === null) throw new Error(`"${this.path}" has no marker of a repository; it may not be mounted`);
      for (const vm of await root.names()) {
        if (vm.startsWith('.')) continue;
        await this.inFolder(root, vm, async (vmFolder) => {
          for (const name of await vmFolder.names()) {
            const folder = `${vm}/${name}`;
            try {
              const point = await this.inFolder(vmFolder, name, (pinned) => this.read(pinned, folder, nowMs));
              if (point !== null) points.push(point);
            } catch (error) {
              problems.set(folder, messageOf(error));
            }
          }
        }).catch((error: unknown) => void problems.set(vm, messageOf(error)));
      }
    } finally {
      await root.close();
    }
    const present = new Set(points.map(({ folder }) => folder));
    for (const folder of this.known.keys()) if (!present.has(folder)) this.known.delete(folder);
    return { points, problems };
  }

  /** @returns whether all of it was done and read back; false: the folder has changed since the scan, and the next one decides @throws Error, ToolError */
  async perform(action: LockAction): Promise<boolean> {
    const scanned = this.known.get(action.folder);
    this.known.delete(action.folder);
    if (scanned === undefined) return false;
    const [vm = '', name = ''] = action.folder.split('/');
    const root = await PinnedFolder.open(this.path);
    try {
      const done = await this.inFolder(root, vm, (vmFolder) =>
        this.inFolder(vmFolder, name, (folder) => (action.kind === 'lock' ? lock(folder, action, scanned.text) : unlock(folder, action, scanned.text))),
      );
      return done ?? false;
    } finally {
      await root.close();
    }
  }

  private async read(folder: PinnedFolder, path: string, nowMs: number): Promise<FoundPoint | null> {
    const known = this.known.get(path);
    const file = await folder.file(MANIFEST_FILE);
    if (file === null) return null;
    if (known?.state === file.state && nowMs - known.read_at < FRESH_MS && nowMs >= known.read_at) return known.point;
    const found = await folder.text(MANIFEST_FILE, MAX_MANIFEST_BYTES);
    if (found === null) return null;
    const point = pointOf(path, parseManifest(found.text), await immutableNames(folder));
    this.known.set(path, { state: found.file.state, read_at: nowMs, point, text: found.text });
    return point;
  }

  private async inFolder<Result>(parent: PinnedFolder, name: string, work: (folder: PinnedFolder) => Promise<Result>): Promise<Result | null> {
    const folder = await parent.folder(name);
    if (folder === null) return null;
    try {
      return await work(folder);
    } finally {
      await folder.close();
    }
  }
}

/** The manifest first: from then on it says what it said, so nothing can be made immutable and then be described otherwise. */
async function lock(folder: PinnedFolder, { manifest, files }: LockAction & { readonly kind: 'lock' }, text: string): Promise<boolean> {
  if (manifest) {
    if ((await folder.file(MANIFEST_FILE)) === null) return false;
    await setImmutable(folder.descriptor, [MANIFEST_FILE], true);
  }
  if (!(await isUnchanged(folder, text))) return false;
  await requireOwn(folder, files);
  await setImmutable(folder.descriptor, files, true);
  // A further name that was made meanwhile could be used to unlock it.
  await requireOwn(folder, files);
  const immutable = await immutableNames(folder);
  const missing = [MANIFEST_FILE, ...files].filter((name) => immutable.get(name) !== true);
  if (missing.length > 0) throw new Error(`${missing.join(', ')} did not become immutable; the file system may not have that attribute`);
  return true;
}

/** The manifest last: what is left after a crash is unlocked by the next scan. */
async function unlock(folder: PinnedFolder, { files }: LockAction, text: string): Promise<boolean> {
  const before = await immutableNames(folder);
  if (before.get(MANIFEST_FILE) !== true || !(await isUnchanged(folder, text))) return false;
  await requireOwn(folder, files);
  await setImmutable(folder.descriptor, files, false);
  await setImmutable(folder.descriptor, [MANIFEST_FILE], false);
  return true;
}

async function isUnchanged(folder: PinnedFolder, text: string): Promise<boolean> {
  return (await folder.text(MANIFEST_FILE, MAX_MANIFEST_BYTES))?.text === text;
}

async function requireOwn(folder: PinnedFolder, names: readonly string[]): Promise<void> {
  for (const name of names) if ((await folder.file(name)) === null) throw new Error(`"${name}" is not a regular file`);
}

async function immutableNames(folder: PinnedFolder): Promise<ReadonlyMap<string, boolean>> {
  return new Map((await attributesIn(folder.descriptor)).map(({ name, immutable }) => [name, immutable]));
}

function pointOf(folder: string, manifest: Manifest, immutable: ReadonlyMap<string, boolean>): FoundPoint {
  const { backup_id, parent, locked_until, rewriting, disks } = manifest;
  const names = new Set([SIGNATURE_FILE, ...disks.flatMap(({ file, blocks }) => [file, ...(blocks === null ? [] : [blocks.file])])]);
  return {
    folder,
    hidden: folder.slice(folder.indexOf('/') + 1).startsWith('.'),
    backup_id,
    parent_backup_id: parent?.backup_id ?? null,
    locked_until_ms: locked_until === null ? null : Date.parse(locked_until),
    rewriting: rewriting !== undefined,
    manifest_immutable: immutable.get(MANIFEST_FILE) === true,
    files: [...names].flatMap((name) => {
      const is = immutable.get(name);
      return is === undefined ? [] : [{ name, immutable: is }];
    }),
  };
}
