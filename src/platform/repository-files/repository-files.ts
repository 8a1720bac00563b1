import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { join } from 'node:path';
import { DomainError } from '../../kernel/domain-error.js';
import { messageOf } from '../../kernel/error-message.js';
import { DIRECT_CALLS, type FileCalls, type FileFacts } from '../file-door/file-calls.js';
import { WrongShapeError } from '../json-shape/json-shape.js';
import { errnoOf } from '../process/system-error.js';
import { type Manifest, MANIFEST_FILE, parseManifest } from './manifest.js';
import { checkParent, type ParentVerdict, type SealedFacts } from './parent-check.js';
import { MARKER_FILE, readMarker, type RepositoryMarker, removeMarker, writeMarker } from './repository-marker.js';
import { probeRepositoryPath, type RepositoryProbe } from './repository-probe.js';
import { parseFolder, partialFolderOf, restorePointFolderName, vmFolderName } from './restore-point-folder.js';
import { storageError } from './storage-error.js';

export type SealResult = {
  /** SHA-256 of manifest.json, lower-case hex. */
  readonly manifest_sha256: string;
  /** True when the restore point had been sealed before and nothing was written. */
  readonly already: boolean;
};

export type FoundRestorePoint =
  | { readonly folder: string; readonly manifest: Manifest; readonly problem: null }
  /** A folder with a restore point's name whose manifest cannot be read or understood. */
  | { readonly folder: string; readonly manifest: null; readonly problem: string };

/**
 * A repository's folders and files, in the format of docs/repository-format.md. `folder` is always a restore point's folder relative to the repository,
 * `<vm folder>/<restore point folder>`, without the `.partial-` of one that is being written.
 *
 * Every method may be called again after a crash at any point of an earlier call. All throw DomainError `repository_unavailable` (unavailable) or
 * `repository_full` (storage_full) when the storage is the trouble.
 */
@Injectable()
export class RepositoryFiles {
  /** @param callsAt does the work on the files of a repository, by its path */
  constructor(private readonly callsAt: (repositoryPath: string) => FileCalls = () => DIRECT_CALLS) {}

  vmFolder(vmName: string, vmId: string): string {
    return vmFolderName(vmName, vmId);
  }

  /** Name only, without the VM's folder. `startedAt` as a Date or ISO 8601. */
  restorePointFolder(startedAt: Date | string, type: 'full' | 'incremental', backupId: string): string {
    return restorePointFolderName(startedAt, type, backupId);
  }

  /** `<vm>/<point>` -> `<vm>/.partial-<point>` */
  partialFolder(folder: string): string {
    return partialFolderOf(folder);
  }

  /**
   * The repository is there and is the right one (its marker says so).
   * @throws DomainError `repository_unavailable`, facts.reason: `path_missing`, `marker_missing`, `marker_unreadable`, `marker_of_another_repository`
   */
  async checkPresent(repositoryId: string, path: string): Promise<void> {
    const calls = this.callsAt(path);
    const found = await this.onStorage(path, 'looking at it', () => calls.stat(path).catch(nullIfSystemError));
    if (found === null || found.kind !== 'folder') {
      throw unavailable(repositoryId, path, 'path_missing', `there is no folder at "${path}". Mount it again or restore the folder.`);
    }
    let marker: RepositoryMarker | null;
    try {
      marker = await this.onStorage(path, 'reading its marker', () => readMarker(calls, path));
    } catch (error) {
      if (isSilence(error)) throw error;
      throw unavailable(repositoryId, path, 'marker_unreadable', `its marker cannot be read: ${messageOf(error)}.`);
    }
    if (marker === null) {
      throw unavailable(repositoryId, path, 'marker_missing', `"${path}" holds no ${MARKER_FILE}, so its file system is probably not mounted.`);
    }
    if (marker.repository_id !== repositoryId) {
      throw unavailable(repositoryId, path, 'marker_of_another_repository', `"${path}" holds repository ${marker.repository_id} instead.`);
    }
  }

  /** The same, and it can be written to. @throws DomainError `repository_unavailable`, facts.reason also `not_writable` */
  async checkAvailable(repositoryId: string, path: string): Promise<void> {
    await this.checkPresent(repositoryId, path);
    try {
      await this.callsAt(path).mayWriteIn(path);
    } catch (error) {
      if (errnoOf(error) === null) throw storageError(error, path, 'looking at it');
      throw unavailable(repositoryId, path, 'not_writable', `"${path}" is not writable for the hub (${errnoOf(error) ?? 'unknown error'}).`);
    }
  }

  /** Makes the folder that a restore point is written in, and returns its absolute path. What an earlier call has left in it stays. */
  async createPartial(repositoryPath: string, folder: string): Promise<string> {
    const partial = partialFolderOf(folder);
    const { vm } = this.parse(repositoryPath, partial);
    const vmPath = join(repositoryPath, vm);
    const path = join(repositoryPath, partial);
    const calls = this.callsAt(repositoryPath);
    return this.onStorage(repositoryPath, `creating ${partial}`, async () => {
      // Deletion of another restore point of the VM may take away the VM's folder, empty for a moment, right between the two.
      for (let attempt = 0; ; attempt++) {
        await makeFolder(calls, vmPath);
        try {
          await makeFolder(calls, path);
          break;
        } catch (error) {
          if (errnoOf(error) !== 'ENOENT' || attempt === 3) throw error;
        }
      }
      await this.refuseDetour(repositoryPath, vm);
      await calls.syncToDisk(vmPath);
      await calls.syncToDisk(repositoryPath);
      return path;
    });
  }

  /** Deletes the partial folder of a restore point with all its files; harmless when there is none. Never touches a sealed one. */
  async removePartial(repositoryPath: string, folder: string): Promise<void> {
    await this.remove(repositoryPath, partialFolderOf(folder));
  }

  /**
   * Deletes a sealed restore point with all its files; harmless when there is none. It is first renamed to a partial, so that a restore point is never seen with
   * half of its files.
   */
  async removeRestorePoint(repositoryPath: string, folder: string): Promise<void> {
    const { partial } = this.parse(repositoryPath, folder);
    if (partial) throw new Error(`"${folder}" is not the folder of a sealed restore point`);
    const hidden = partialFolderOf(folder);
    await this.onStorage(repositoryPath, `removing ${folder}`, async () => {
      await this.refuseDetour(repositoryPath, this.parse(repositoryPath, folder).vm);
      try {
        await this.callsAt(repositoryPath).rename(join(repositoryPath, folder), join(repositoryPath, hidden));
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT') throw error;
        await this.refuseMissingRepository(repositoryPath);
      }
    });
    await this.remove(repositoryPath, hidden);
  }

  /**
   * Makes a written partial folder a restore point: checks each file's length against the manifest, makes files read-only, writes manifest.json, syncs all of it to
   * disk and renames the folder. Afterwards the restore point is there as a whole, whatever happens; before, it is not there at all.
   * @throws Error when a file is missing or has another length than the manifest says, or another backup's restore point is there already
   */
  async seal(options: { readonly repositoryPath: string; readonly folder: string; readonly manifest: Manifest }): Promise<SealResult> {
    const { repositoryPath, folder, manifest } = options;
    const { vm } = this.parse(repositoryPath, folder);
    const final = join(repositoryPath, folder);
    const partial = join(repositoryPath, partialFolderOf(folder));
    const vmPath = join(repositoryPath, vm);
    const calls = this.callsAt(repositoryPath);
    return this.onStorage(repositoryPath, `sealing ${folder}`, async () => {
      if (await exists(calls, final)) {
        const json = await calls.readText(join(final, MANIFEST_FILE));
        const there = parseManifest(json);
        if (there.backup_id !== manifest.backup_id) throw new Error(`"${final}" is the restore point of backup ${there.backup_id} already`);
        await calls.changeMode(final, 0o555);
        await calls.syncToDisk(vmPath);
        return { manifest_sha256: sha256(json), already: true };
      }
      await this.refuseDetour(repositoryPath, vm);
      for (const disk of manifest.disks) {
        const file = join(partial, disk.file);
        const found = await calls.lstat(file);
        if (found.kind !== 'file') throw new Error(`"${file}" is not a regular file`);
        if (found.size_bytes !== disk.file_size_bytes) {
          throw new Error(`"${file}" has ${found.size_bytes} bytes, but the manifest says ${disk.file_size_bytes}`);
        }
      }
      const json = `${JSON.stringify(manifest, null, 2)}\n`;
      parseManifest(json);
      // All at once, so that the file system's journal is written for all of them together.
      const writing = [
        ...manifest.disks.map(async (disk) => {
          const file = join(partial, disk.file);
          await calls.changeMode(file, 0o444);
          await calls.syncToDisk(file);
        }),
        calls.writeDurably(join(partial, MANIFEST_FILE), json, 0o444),
      ];
      // Nothing is still being written when an error is told: whoever hears of it removes the folder.
      await Promise.allSettled(writing);
      await Promise.all(writing);
      await calls.rename(partial, final);
      await calls.changeMode(final, 0o555);
      await Promise.all([calls.syncToDisk(final), calls.syncToDisk(vmPath)]);
      return { manifest_sha256: sha256(json), already: false };
    });
  }

  /**
   * The manifest of a sealed restore point.
   * @throws DomainError `restore_point_missing` (gone) when its folder or manifest is not there, `manifest_broken` (gone) naming the member that is wrong
   */
  async readManifest(repositoryPath: string, folder: string): Promise<Manifest> {
    this.parse(repositoryPath, folder);
    const path = join(repositoryPath, folder, MANIFEST_FILE);
    return this.onStorage(repositoryPath, `reading ${folder}`, async () => {
      try {
        return parseManifest(await this.callsAt(repositoryPath).readText(path));
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') {
          await this.refuseMissingRepository(repositoryPath);
          throw new DomainError('gone', 'restore_point_missing', `"${path}" is missing: the restore point was removed or its file system is not mounted.`, {
            folder,
          });
        }
        if (error instanceof WrongShapeError) {
          throw new DomainError('gone', 'manifest_broken', `"${path}" is not a valid manifest: ${error.message}.`, { folder });
        }
        throw error;
      }
    });
  }

  /** All sealed restore points by what the repository itself says, in the order of VM folder and time. */
  async listRestorePoints(repositoryPath: string): Promise<readonly FoundRestorePoint[]> {
    const found: FoundRestorePoint[] = [];
    for (const folder of await this.folders(repositoryPath, false)) {
      try {
        found.push({ folder, manifest: await this.readManifest(repositoryPath, folder), problem: null });
      } catch (error) {
        if (!(error instanceof DomainError) || error.kind !== 'gone') throw error;
        found.push({ folder, manifest: null, problem: error.message });
      }
    }
    return found;
  }

  /** Restore points that were begun and neither sealed nor removed, as their final folders (without `.partial-`). */
  async listPartials(repositoryPath: string): Promise<readonly string[]> {
    return this.folders(repositoryPath, true);
  }

  /** Bytes that an unprivileged program may still write. */
  async freeBytes(path: string): Promise<number> {
    return (await this.space(path)).free_bytes;
  }

  async space(path: string): Promise<{ readonly free_bytes: number; readonly total_bytes: number }> {
    return this.onStorage(path, 'measuring it', () => this.callsAt(path).space(path));
  }

  /** Lengths of all files of sealed restore points, in bytes, and the number of restore points. */
  async usage(repositoryPath: string): Promise<{ readonly used_by_backups_bytes: number; readonly restore_points: number }> {
    const calls = this.callsAt(repositoryPath);
    return this.onStorage(repositoryPath, 'measuring it', async () => {
      const folders = await this.folders(repositoryPath, false);
      let bytes = 0;
      for (const folder of folders) {
        for (const { name } of await calls.list(join(repositoryPath, folder)).catch(noneIfSystemError)) {
          bytes += (await calls.lstat(join(repositoryPath, folder, name)).catch(nullIfSystemError))?.size_bytes ?? 0;
        }
      }
      return { used_by_backups_bytes: bytes, restore_points: folders.length };
    });
  }

  /**
   * Each file is there in the length it was sealed with. qemu reads what is missing at a file's end as zeroes, without a word.
   * @throws DomainError `restore_point_damaged`
   */
  async checkWhole(
    repositoryPath: string,
    sealed: readonly { readonly backup_id: string; readonly file: string; readonly size_bytes: number }[],
  ): Promise<void> {
    for (const { backup_id, file, size_bytes } of sealed) {
      const path = join(repositoryPath, file);
      const found = await this.look(repositoryPath, file);
      if (found?.size_bytes === size_bytes) continue;
      const what = found === null ? 'is missing' : `has ${found.size_bytes} bytes; it was sealed with ${size_bytes}`;
      throw new DomainError(
        'conflict',
        'restore_point_damaged',
        `The file "${path}" of restore point ${backup_id} ${what}. Verify the backup to see what else is damaged, choose an older restore point, or ask for this one as it is with allow_damaged.`,
        { damaged_backup_id: backup_id, file },
      );
    }
  }

  /** See checkParent in parent-check.ts. `file` is the sealed file, relative to the repository. */
  async checkParent(repositoryPath: string, sealed: SealedFacts, file: string): Promise<ParentVerdict> {
    const doing = `looking at ${file}`;
    return this.onStorage(repositoryPath, doing, () => checkParent(this.callsAt(repositoryPath), sealed, join(repositoryPath, file)));
  }

  /** `file` is relative to the repository, and not followed where it is a link. null: there is none. */
  async look(repositoryPath: string, file: string): Promise<FileFacts | null> {
    return this.onStorage(repositoryPath, `looking at ${file}`, () =>
      this.callsAt(repositoryPath)
        .lstat(join(repositoryPath, file))
        .catch((error: unknown) => {
          if (errnoOf(error) === 'ENOENT') return null;
          throw error;
        }),
    );
  }

  /** SHA-256 of a restore point's manifest.json, lower-case hex. */
  async manifestSha256(repositoryPath: string, folder: string): Promise<string> {
    this.parse(repositoryPath, folder);
    return this.onStorage(repositoryPath, `reading ${folder}`, () => this.callsAt(repositoryPath).sha256(join(repositoryPath, folder, MANIFEST_FILE)));
  }

  /** See probeRepositoryPath in repository-probe.ts. */
  async probe(path: string, others: readonly string[], ownId: string | null): Promise<RepositoryProbe> {
    return this.onStorage(path, 'trying it out', () => probeRepositoryPath(this.callsAt, path, others, ownId));
  }

  /** See repository-marker.ts. @throws also WrongShapeError */
  async readMarker(path: string): Promise<RepositoryMarker | null> {
    return this.onStorage(path, 'reading its marker', () => readMarker(this.callsAt(path), path));
  }

  /** See repository-marker.ts. */
  async writeMarker(path: string, marker: RepositoryMarker): Promise<void> {
    await this.onStorage(path, 'writing its marker', () => writeMarker(this.callsAt(path), path, marker));
  }

  /** See repository-marker.ts. */
  async removeMarker(path: string): Promise<void> {
    await this.onStorage(path, 'removing its marker', () => removeMarker(this.callsAt(path), path));
  }

  private async folders(repositoryPath: string, partials: boolean): Promise<readonly string[]> {
    const calls = this.callsAt(repositoryPath);
    return this.onStorage(repositoryPath, 'listing it', async () => {
      const folders: string[] = [];
      for (const vm of await calls.list(repositoryPath)) {
        if (!vm.is_folder) continue;
        for (const entry of await calls.list(join(repositoryPath, vm.name)).catch(noneIfSystemError)) {
          const parsed = entry.is_folder ? parseFolder(`${vm.name}/${entry.name}`) : null;
          if (parsed !== null && parsed.partial === partials) folders.push(`${parsed.vm}/${parsed.point}`);
        }
      }
      return folders.sort();
    });
  }

  private async remove(repositoryPath: string, partialFolder: string): Promise<void> {
    const { vm, partial } = this.parse(repositoryPath, partialFolder);
    if (!partial) throw new Error(`refusing to delete "${partialFolder}": not a partial folder`);
    const path = join(repositoryPath, partialFolder);
    const calls = this.callsAt(repositoryPath);
    await this.onStorage(repositoryPath, `removing ${partialFolder}`, async () => {
      const found = await calls.lstat(path).catch(nullIfSystemError);
      if (found === null) {
        await this.refuseMissingRepository(repositoryPath);
        return;
      }
      if (found.kind !== 'folder') throw new Error(`refusing to delete "${path}": not a folder`);
      await this.refuseDetour(repositoryPath, vm);
      await calls.changeMode(path, 0o700);
      await calls.removeTree(path);
      const vmPath = join(repositoryPath, vm);
      await calls.syncToDisk(vmPath);
      try {
        await calls.removeFolder(vmPath);
        await calls.syncToDisk(repositoryPath);
      } catch (error) {
        // The usual case: the VM has other restore points.
        if (!['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(errnoOf(error) ?? '')) throw error;
      }
    });
  }

  /** A path mistake here would delete or overwrite a stranger's files, so whatever does not look exactly like ours is refused. */
  private parse(repositoryPath: string, folder: string): { readonly vm: string; readonly partial: boolean } {
    if (!repositoryPath.startsWith('/') || repositoryPath === '/') throw new Error(`"${repositoryPath}" is not the path of a repository`);
    const parsed = parseFolder(folder);
    if (parsed === null) throw new Error(`"${folder}" is not the folder of a restore point`);
    return parsed;
  }

  /** A VM's folder that is a symbolic link would lead out of the repository. */
  private async refuseDetour(repositoryPath: string, vm: string): Promise<void> {
    const calls = this.callsAt(repositoryPath);
    const expected = join(await calls.realpath(repositoryPath), vm);
    const actual = await calls.realpath(join(repositoryPath, vm)).catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') return expected;
      throw error;
    });
    if (actual !== expected) throw new Error(`"${expected}" leads to "${actual}", outside the repository's own folder`);
  }

  /** "There is nothing to delete" must not be concluded from a file system that is not mounted. */
  private async refuseMissingRepository(repositoryPath: string): Promise<void> {
    if (!(await exists(this.callsAt(repositoryPath), join(repositoryPath, MARKER_FILE)))) {
      throw new DomainError(
        'unavailable',
        'repository_unavailable',
        `The repository at "${repositoryPath}" holds no ${MARKER_FILE}; its file system is probably not mounted.`,
        { path: repositoryPath, reason: 'marker_missing' },
      );
    }
  }

  private async onStorage<T>(repositoryPath: string, doing: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw storageError(error, repositoryPath, doing);
    }
  }
}

/** Unlike `mkdir -p`, never makes the repository's own folder: that would write beneath a mount point whose file system is away. */
async function makeFolder(calls: FileCalls, path: string): Promise<void> {
  try {
    await calls.makeFolder(path, 0o750);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
}

async function exists(calls: FileCalls, path: string): Promise<boolean> {
  try {
    await calls.lstat(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

function sha256(content: string): string {
  return createHash('sha256').update(content).digest('hex');
}

function unavailable(repositoryId: string, path: string, reason: string, problem: string): DomainError {
  return new DomainError('unavailable', 'repository_unavailable', `Repository ${repositoryId} cannot be used: ${problem}`, {
    repository_id: repositoryId,
    path,
    reason,
  });
}

/** A name that cannot be looked at stands for nothing; that the file system does not answer is another matter. */
function nullIfSystemError(error: unknown): null {
  if (errnoOf(error) === null) throw error;
  return null;
}

function noneIfSystemError(error: unknown): [] {
  if (errnoOf(error) === null) throw error;
  return [];
}

function isSilence(error: unknown): boolean {
  return error instanceof DomainError && error.facts['reason'] === 'silent';
}
