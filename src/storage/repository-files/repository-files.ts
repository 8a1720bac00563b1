import { createHash, randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { join, normalize } from 'node:path';
import { ifThere } from '../../lib/files/if-there.js';
import { DomainError } from '../../kernel/domain-error.js';
import { messageOf } from '../../kernel/error-message.js';
import { mountOf, mountTable } from '../../lib/files/mount-table.js';
import { runTool } from '../../lib/process/run-tool.js';
import { ToolError } from '../../lib/process/tool-error.js';
import { versionOf } from '../share-mounts/share-mount.plan.js';
import { mountProblem, type MountRequirement } from '../share-mounts/mount-requirement.plan.js';
import { DIRECT_CALLS, type FileCalls, type FileFacts, type ImageFacts, NOT_READABLE_AS_FILE, type TrialFacts } from '../storage-worker/file-calls.js';
import { WrongShapeError } from '../../lib/json-shape/json-shape.js';
import { errnoOf } from '../../lib/process/system-error.js';
import type { ImageChain } from '../../lib/qemu/image-chain.plan.js';
import { chainProblem, type ChainProblem, type FoundFile, type SealedFile } from './chain-check.plan.js';
import { digestListBytes } from '../hashing/block-digests.js';
import { type Immutable, immutableOf } from './immutable.plan.js';
import { type Manifest, type ManifestDisk, MANIFEST_FILE, manifestText, MAX_MANIFEST_BYTES, parseManifest, SIGNATURE_FILE } from './manifest.js';
import { checkSignature, type ManifestSigner, type SignatureVerdict } from './manifest-signature.js';
import type { NoteVerifier } from '../../lib/ledger/signed-note.js';
import { manifestAsFound } from './manifest-rewriting.plan.js';
import { checkParent, type ParentPlace, type ParentVerdict, type SealedFacts } from './parent-check.js';
import { MARKER_FILE, raiseMarker, readMarker, type RepositoryMarker, removeMarker, writeMarker } from './repository-marker.js';
import { probeRepositoryPath, type RepositoryProbe } from './repository-probe.js';
import { parseFolder, partialFolderOf, restorePointFolderName, vmFolderName } from './restore-point-folder.js';
import { storageError } from './storage-error.js';

export type SealResult = {
  /** SHA-256 of manifest.json, lower-case hex. */
  readonly manifest_sha256: string;
  /** True when the restore point was already sealed and nothing was written. */
  readonly already: boolean;
};

export type FoundRestorePoint =
  | { readonly folder: string; readonly manifest: Manifest; readonly manifest_sha256: string; readonly problem: null }
  /** A folder with a restore point's name whose manifest cannot be read or parsed. */
  | { readonly folder: string; readonly manifest: null; readonly manifest_sha256: null; readonly problem: string };

/** A manifest as it is in a repository. */
export interface ReadManifest {
  /** Describes the files as they are found, also while they are being replaced. */
  readonly manifest: Manifest;
  /** Describes what the text says. */
  readonly stored: Manifest;
  /** The exact text of manifest.json. */
  readonly json: string;
  /** Of that text, lower-case hex. */
  readonly sha256: string;
}

export type RepositoryTrial = TrialFacts & {
  /** As in the mount table. */
  readonly filesystem: string;
  /** For a share, the version of its protocol. */
  readonly protocol_version: string | null;
  readonly image_locks: true;
};

const SEALED_MODE = 0o444;
const MAX_SIGNATURE_BYTES = 64 * 1024;
const HEALED_PREFIX = '.healed-';

/** Files that may be opened as one disk. */
export interface CheckedChain {
  /** Absolute paths. */
  readonly images: ImageChain;
  /** In the same order. facts: null for a missing file, when damage is allowed. */
  readonly files: readonly { readonly sealed: SealedFile; readonly path: string; readonly facts: ImageFacts | null }[];
}

/**
 * A repository's folders and files, in the format of docs/repository-format.md. `folder` is always a restore point's folder relative to the repository, `<vm
 * folder>/<restore point folder>`, without the `.partial-` of an unfinished one.
 *
 * Every method may be called again after a crash at any point of an earlier call. All throw DomainError `repository_unavailable` (unavailable) or
 * `repository_full` (storage_full) when the storage is the cause.
 */
@Injectable()
export class RepositoryFiles {
  /**
   * @param callsAt returns the file operations for a repository, by its path
   * @param requiredAt what has to be mounted at the path of a repository; null: nothing
   */
  constructor(
    private readonly callsAt: (repositoryPath: string) => FileCalls = () => DIRECT_CALLS,
    private readonly requiredAt: (repositoryPath: string) => Promise<MountRequirement | null> = () => Promise.resolve(null),
  ) {}

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
   * Checks that the repository is present and is the right one, according to the mount table and its marker.
   * @throws DomainError `repository_unavailable`, facts.reason: `not_mounted`, `path_missing`, `marker_missing`, `marker_unreadable`, `marker_of_another_repository`
   */
  async checkPresent(repositoryId: string, path: string): Promise<void> {
    await this.refuseUnmounted(path, repositoryId);
    const calls = this.callsAt(path);
    const found = await this.onStorage(path, 'looking at it', () => calls.stat(path).catch(nullIfSystemError));
    if (found === null || found.kind !== 'folder') {
      throw unavailable(repositoryId, path, 'path_missing', `there is no folder at "${path}". Mount its file system or restore the folder.`);
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

  /** Checks the same, and that it is writable. @throws DomainError `repository_unavailable`, facts.reason also `not_writable` */
  async checkAvailable(repositoryId: string, path: string): Promise<void> {
    await this.checkPresent(repositoryId, path);
    try {
      await this.callsAt(path).mayWriteIn(path);
    } catch (error) {
      if (errnoOf(error) === null) throw storageError(error, path, 'looking at it');
      throw unavailable(repositoryId, path, 'not_writable', `"${path}" is not writable for the hub (${errnoOf(error) ?? 'unknown error'}).`);
    }
  }

  /** Creates the folder in which a restore point is written, and returns its absolute path. Keeps files left in it by an earlier call. Sealing makes it durable. */
  async createPartial(repositoryPath: string, folder: string): Promise<string> {
    const partial = partialFolderOf(folder);
    const { vm } = this.parse(repositoryPath, partial);
    const vmPath = join(repositoryPath, vm);
    const path = join(repositoryPath, partial);
    const calls = this.callsAt(repositoryPath);
    // Nothing else is written to a repository before its marker or a folder of it has been found.
    await this.refuseUnmounted(repositoryPath);
    return this.onStorage(repositoryPath, `creating ${partial}`, async () => {
      // Deletion of another restore point may remove the VM's folder, empty for a moment, right between the two.
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
      return path;
    });
  }

  /** Creates an empty image in a partial folder, or again. `path` as from createPartial. @param backing relative to its folder; null: none */
  async createImage(repositoryPath: string, path: string, sizeBytes: number, backing: string | null): Promise<void> {
    await this.onStorage(repositoryPath, `creating ${path}`, () => this.callsAt(repositoryPath).createImage(path, sizeBytes, backing));
  }

  /** Deletes the partial folder of a restore point with all its files; does nothing when there is none. Never touches a sealed one. */
  async removePartial(repositoryPath: string, folder: string): Promise<void> {
    await this.remove(repositoryPath, partialFolderOf(folder));
  }

  /**
   * Deletes a sealed restore point with all its files; does nothing when there is none. Renames it to a partial first, so that a restore point is never seen
   * with only some of its files.
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
   * Turns a finished partial folder into a restore point: checks each file's length against the manifest, makes files read-only, writes manifest.json and its
   * signature, syncs everything to disk and renames the folder. This is atomic: the restore point exists completely or not at all. Of a disk file that is
   * read-only already, the caller has synced the content.
   * @param options.manifest its `signing_key` becomes that of the signer
   * @throws Error when a file is missing or its length differs from the manifest, or another backup's restore point already exists there
   */
  async seal(options: {
    readonly repositoryPath: string;
    readonly folder: string;
    readonly manifest: Manifest;
    readonly signer: ManifestSigner;
  }): Promise<SealResult> {
    const { repositoryPath, folder, manifest, signer } = options;
    const { vm } = this.parse(repositoryPath, folder);
    const final = join(repositoryPath, folder);
    const partial = join(repositoryPath, partialFolderOf(folder));
    const vmPath = join(repositoryPath, vm);
    const calls = this.callsAt(repositoryPath);
    return this.onStorage(repositoryPath, `sealing ${folder}`, async () => {
      if (await exists(calls, final)) {
        const json = await calls.readText(join(final, MANIFEST_FILE), MAX_MANIFEST_BYTES);
        const there = parseManifest(json);
        if (there.backup_id !== manifest.backup_id) throw new Error(`"${final}" is the restore point of backup ${there.backup_id}, not of this one`);
        await calls.changeMode(final, 0o555);
        await Promise.all([vmPath, repositoryPath].map((path) => calls.syncToDisk(path)));
        return { manifest_sha256: sha256(json), already: true };
      }
      const [facts] = await Promise.all([
        Promise.all(manifest.disks.map(({ file }) => calls.imageFacts(join(partial, file)))),
        this.refuseDetour(repositoryPath, vm),
        this.requireLists(calls, partial, manifest),
      ]);
      if (!(await raiseMarker(calls, repositoryPath))) await this.refuseMissingRepository(repositoryPath);
      const writable: string[] = [];
      for (const [index, disk] of manifest.disks.entries()) {
        const file = join(partial, disk.file);
        const found = facts[index] ?? null;
        if (found === null) throw new Error(`"${file}" is not a regular file`);
        if (found.size_bytes !== disk.file_size_bytes) {
          throw new Error(`"${file}" has ${found.size_bytes} bytes, but the manifest says ${disk.file_size_bytes}`);
        }
        // Setting the mode again would change the timestamps that identify the file as the hashed one.
        if (found.mode !== SEALED_MODE) writable.push(file);
      }
      const json = manifestText({ ...manifest, signing_key: signer.key });
      // Concurrently, so that the file system writes its journal once for all of them.
      const writing = [
        ...writable.map(async (file) => {
          await calls.changeMode(file, SEALED_MODE);
          await calls.syncToDisk(file);
        }),
        ...manifest.disks.flatMap(({ blocks }) => (blocks === null ? [] : [calls.syncToDisk(join(partial, blocks.file))])),
        calls.writeDurably(join(partial, MANIFEST_FILE), json, 0o444),
        calls.writeDurably(join(partial, SIGNATURE_FILE), signer.sign(json), 0o444),
      ];
      // No write may be in progress when an error is reported, because the caller then removes the folder.
      await Promise.allSettled(writing);
      await Promise.all(writing);
      await calls.rename(partial, final);
      await calls.changeMode(final, 0o555);
      await Promise.all([final, vmPath, repositoryPath].map((path) => calls.syncToDisk(path)));
      return { manifest_sha256: sha256(json), already: false };
    });
  }

  /**
   * Makes what lies at the place of a copy its partial folder again, so that it can be compared and completed: a restore point that was copied there by hand,
   * or one whose copy was interrupted after sealing. Does nothing when nothing lies there.
   * @throws DomainError `copy_place_taken` (conflict): another backup's restore point, or something else, is there
   */
  async reopen(repositoryPath: string, folder: string, backupId: string): Promise<void> {
    const final = join(repositoryPath, folder);
    const calls = this.callsAt(repositoryPath);
    const { vm } = this.parse(repositoryPath, folder);
    if ((await this.onStorage(repositoryPath, `looking at ${folder}`, () => ifThere(calls.lstat(final)))) === null) return;
    await this.onStorage(repositoryPath, `looking at ${folder}`, () => this.refuseDetour(repositoryPath, vm));
    const there = await this.readManifestAndHash(repositoryPath, folder).catch((error: unknown) => {
      if (error instanceof DomainError && error.kind === 'gone') return null;
      throw error;
    });
    if (there?.stored.backup_id !== backupId) {
      const what = there === null ? 'something that is not a restore point' : `the restore point of backup ${there.stored.backup_id}`;
      throw new DomainError('conflict', 'copy_place_taken', `"${final}" holds ${what}. Move it away, and request the copy again.`, { folder });
    }
    await this.onStorage(repositoryPath, `opening ${folder}`, async () => {
      const partial = join(repositoryPath, partialFolderOf(folder));
      await calls.changeMode(final, 0o755);
      // What an interrupted copy left cannot be newer.
      await calls.removeTree(partial);
      await calls.rename(final, partial);
    });
  }

  /** Writes the manifest of a copied restore point, and its signature, into its partial folder, and removes everything that is not part of it. Durable. */
  async completeCopy(repositoryPath: string, folder: string, manifest: Manifest, json: string, signature: string | null): Promise<void> {
    const partial = join(repositoryPath, partialFolderOf(folder));
    const calls = this.callsAt(repositoryPath);
    const parts = new Set([...manifest.disks.flatMap(({ file, blocks }) => [file, ...(blocks === null ? [] : [blocks.file])])]);
    await this.onStorage(repositoryPath, `writing the manifest of ${folder}`, async () => {
      for (const { name } of await calls.list(partial)) if (!parts.has(name)) await calls.removeTree(join(partial, name));
      if (signature !== null) await calls.writeDurably(join(partial, SIGNATURE_FILE), signature, SEALED_MODE);
      await calls.writeDurably(join(partial, MANIFEST_FILE), json, SEALED_MODE);
    });
  }

  /**
   * Turns the partial folder of a complete copy into a restore point, like `seal`. Its files are read-only and durable already.
   * @throws Error when something is not as completeCopy left it
   */
  async sealCopy(repositoryPath: string, folder: string, manifestSha256: string): Promise<void> {
    const { vm } = this.parse(repositoryPath, folder);
    const [final, partial, vmPath] = [folder, partialFolderOf(folder), vm].map((path) => join(repositoryPath, path)) as [string, string, string]; // of three
    const calls = this.callsAt(repositoryPath);
    await this.onStorage(repositoryPath, `sealing ${folder}`, async () => {
      await this.refuseDetour(repositoryPath, vm);
      const already = await exists(calls, final);
      const json = await calls.readText(join(already ? final : partial, MANIFEST_FILE), MAX_MANIFEST_BYTES);
      if (sha256(json) !== manifestSha256) throw new Error(`the manifest of "${already ? final : partial}" is not the one that was copied`);
      if (!already) {
        const manifest = parseManifest(json);
        for (const disk of manifest.disks) {
          const found = await calls.lstat(join(partial, disk.file));
          if (found.kind !== 'file' || found.size_bytes !== disk.file_size_bytes) throw new Error(`"${join(partial, disk.file)}" is not the copied file`);
        }
        await this.requireLists(calls, partial, manifest);
        if (!(await raiseMarker(calls, repositoryPath))) await this.refuseMissingRepository(repositoryPath);
        await calls.syncToDisk(partial);
        await calls.rename(partial, final);
      }
      await calls.changeMode(final, 0o555);
      await Promise.all([final, vmPath, repositoryPath].map((path) => calls.syncToDisk(path)));
    });
  }

  /**
   * Makes the folder of a damaged restore point writable, creates it if it is missing, and removes new files that an interrupted healing left there.
   * @returns its absolute path
   */
  async openForHealing(repositoryPath: string, folder: string): Promise<string> {
    const { vm } = this.parse(repositoryPath, folder);
    const path = join(repositoryPath, folder);
    const calls = this.callsAt(repositoryPath);
    return this.onStorage(repositoryPath, `opening ${folder}`, async () => {
      await this.refuseMissingRepository(repositoryPath);
      await makeFolder(calls, join(repositoryPath, vm));
      await this.refuseDetour(repositoryPath, vm);
      await makeFolder(calls, path);
      if ((await calls.lstat(path)).kind !== 'folder') throw new Error(`"${path}" is not a folder`);
      await calls.changeMode(path, 0o755);
      await this.removeHealed(repositoryPath, path);
      return path;
    });
  }

  /** Where a new file is until it replaces the damaged one. `folderPath` as from openForHealing. */
  healedPath(folderPath: string, name: string): string {
    return join(folderPath, `${HEALED_PREFIX}${name}`);
  }

  /** Writes a new file of text to healedPath. */
  async writeHealed(repositoryPath: string, folderPath: string, name: string, text: string): Promise<void> {
    const path = this.healedPath(folderPath, name);
    await this.onStorage(repositoryPath, `writing ${path}`, () => this.callsAt(repositoryPath).writeDurably(path, text, SEALED_MODE));
  }

  /** Renames new files over the damaged ones, in this order, removes others, and makes the folder read-only again. Does nothing if there is no such folder. */
  async closeHealed(repositoryPath: string, folder: string, names: readonly string[]): Promise<void> {
    const { vm } = this.parse(repositoryPath, folder);
    const path = join(repositoryPath, folder);
    const calls = this.callsAt(repositoryPath);
    await this.onStorage(repositoryPath, `replacing files of ${folder}`, async () => {
      if ((await ifThere(calls.lstat(path)))?.kind !== 'folder') return;
      await this.refuseDetour(repositoryPath, vm);
      for (const name of names) {
        if ((await ifThere(calls.lstat(join(path, name))))?.kind === 'folder') {
          throw new DomainError('conflict', 'copy_place_taken', `"${join(path, name)}" is a folder. Move it away, and heal the restore point again.`, {
            folder,
          });
        }
        await calls.rename(this.healedPath(path, name), join(path, name));
      }
      if (names.length > 0) await calls.syncToDisk(path);
      await calls.changeMode(path, 0o755);
      await this.removeHealed(repositoryPath, path);
      await calls.changeMode(path, 0o555);
      await Promise.all([path, join(repositoryPath, vm), repositoryPath].map((each) => calls.syncToDisk(each)));
    });
  }

  /** Names of files of a restore point that are immutable now, so that nobody can replace them; none where the file system does not say. */
  async immutableFilesOf(repositoryPath: string, folder: string): Promise<ReadonlySet<string>> {
    this.parse(repositoryPath, folder);
    return this.onStorage(repositoryPath, `reading the attributes of ${folder}`, async () => {
      const found = await this.callsAt(repositoryPath).immutability(join(repositoryPath, folder));
      return new Set(found.flatMap(({ name, immutable }) => (immutable ? [name] : [])));
    });
  }

  private async removeHealed(repositoryPath: string, folderPath: string): Promise<void> {
    const calls = this.callsAt(repositoryPath);
    for (const { name } of await calls.list(folderPath)) if (name.startsWith(HEALED_PREFIX)) await calls.removeTree(join(folderPath, name));
  }

  /** The text of manifest.json.sig; null: there is none. */
  async readSignature(repositoryPath: string, folder: string): Promise<string | null> {
    const path = join(repositoryPath, folder, SIGNATURE_FILE);
    return this.onStorage(repositoryPath, `reading the signature of ${folder}`, () =>
      ifThere(this.callsAt(repositoryPath).readText(path, MAX_SIGNATURE_BYTES)),
    );
  }

  /**
   * The manifest of a sealed restore point.
   * @throws DomainError `restore_point_missing` (gone) when its folder or manifest does not exist, `manifest_broken` (gone) naming the wrong member
   */
  async readManifest(repositoryPath: string, folder: string): Promise<Manifest> {
    return (await this.readManifestAndHash(repositoryPath, folder)).manifest;
  }

  /** Like readManifest, with the stored text. */
  async readManifestAndHash(repositoryPath: string, folder: string): Promise<ReadManifest> {
    this.parse(repositoryPath, folder);
    const path = join(repositoryPath, folder, MANIFEST_FILE);
    const broken = (what: string): DomainError => new DomainError('gone', 'manifest_broken', `"${path}" is not a valid manifest: ${what}.`, { folder });
    return this.onStorage(repositoryPath, `reading ${folder}`, async () => {
      try {
        const json = await this.callsAt(repositoryPath).readText(path, MAX_MANIFEST_BYTES);
        const stored = parseManifest(json);
        return { manifest: manifestAsFound(stored, await this.replacedFiles(repositoryPath, folder, stored)), json, sha256: sha256(json), stored };
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') {
          await this.refuseMissingRepository(repositoryPath);
          throw new DomainError('gone', 'restore_point_missing', `"${path}" is missing: the restore point was removed, or its file system is not mounted.`, {
            folder,
          });
        }
        if (error instanceof WrongShapeError) throw broken(error.message);
        if (errnoOf(error) === NOT_READABLE_AS_FILE) throw broken(messageOf(error));
        throw error;
      }
    });
  }

  /** Files of a rewriting that have been replaced already: their headers name the new backing file. */
  private async replacedFiles(repositoryPath: string, folder: string, { rewriting }: Manifest): Promise<ReadonlySet<string>> {
    const replaced = new Set<string>();
    for (const { file, backing_file } of rewriting?.disks ?? []) {
      const facts = await this.imageFacts(repositoryPath, join(folder, file));
      if (facts !== null && facts.image !== null && facts.image.backing_filename === backing_file) replaced.add(file);
    }
    return replaced;
  }

  /**
   * Replaces the manifest of a sealed restore point, whose folder is writable, and its signature. At any moment one of the signatures there fits the manifest.
   * @param signer signs a manifest of format 2
   * @returns the manifest that was written, and the SHA-256 of manifest.json, lower-case hex
   */
  async replaceManifest(
    repositoryPath: string,
    folder: string,
    replacement: Manifest,
    signer: ManifestSigner,
  ): Promise<{ readonly manifest: Manifest; readonly manifest_sha256: string }> {
    const signs = replacement.format_version !== 1;
    const manifest = signs ? { ...replacement, signing_key: signer.key } : replacement;
    const json = manifestText(manifest);
    const path = join(repositoryPath, folder);
    const calls = this.callsAt(repositoryPath);
    await this.settleSignature(repositoryPath, folder);
    return this.onStorage(repositoryPath, `writing the manifest of ${folder}`, async () => {
      const signature = join(path, SIGNATURE_FILE);
      if (signs) await calls.writeDurably(`${signature}.next`, signer.sign(json), SEALED_MODE);
      await calls.writeDurably(join(path, MANIFEST_FILE), json, SEALED_MODE);
      if (signs) {
        await calls.rename(`${signature}.next`, signature);
        await calls.syncToDisk(path);
      }
      return { manifest, manifest_sha256: sha256(json) };
    });
  }

  /**
   * What the signature of a manifest proves. While a rewrite replaces the manifest, its next signature is next to the one before.
   * @param trusted keys that the caller trusts
   */
  async signatureOf(repositoryPath: string, folder: string, { stored, json }: ReadManifest, trusted: readonly NoteVerifier[]): Promise<SignatureVerdict> {
    const path = join(repositoryPath, folder, SIGNATURE_FILE);
    const calls = this.callsAt(repositoryPath);
    return this.onStorage(repositoryPath, `reading the signature of ${folder}`, async () => {
      const read = (file: string): Promise<string | null> => ifThere(calls.readText(file, MAX_SIGNATURE_BYTES));
      try {
        const verdict = checkSignature(json, stored, await read(path), trusted);
        if (verdict.kind !== 'invalid') return verdict;
        const next = await read(`${path}.next`);
        return next === null ? verdict : checkSignature(json, stored, next, trusted);
      } catch (error) {
        if (errnoOf(error) === NOT_READABLE_AS_FILE) return { kind: 'invalid', detail: messageOf(error) };
        throw error;
      }
    });
  }

  /** A signature left of an interrupted replaceManifest takes its place if its manifest is there, and is removed otherwise. */
  async settleSignature(repositoryPath: string, folder: string): Promise<void> {
    const path = join(repositoryPath, folder);
    const next = join(path, `${SIGNATURE_FILE}.next`);
    const calls = this.callsAt(repositoryPath);
    await this.onStorage(repositoryPath, `reading the signature of ${folder}`, async () => {
      const text = await ifThere(calls.readText(next, MAX_SIGNATURE_BYTES));
      if (text === null) return;
      const { stored, json } = await this.readManifestAndHash(repositoryPath, folder);
      await calls.changeMode(path, 0o755);
      if (checkSignature(json, stored, text, []).kind === 'unknown_key') await calls.rename(next, join(path, SIGNATURE_FILE));
      else await calls.removeTree(next);
      await calls.syncToDisk(path);
    });
  }

  /**
   * The manifest, verified against its recorded hash, so that its content may be acted upon.
   * @param recordedSha256 null: none was recorded
   * @throws as readManifest; DomainError `manifest_differs` (conflict)
   */
  async readRecordedManifest(repositoryPath: string, folder: string, recordedSha256: string | null): Promise<Manifest> {
    const { manifest, sha256: found } = await this.readManifestAndHash(repositoryPath, folder);
    if (recordedSha256 === null || found === recordedSha256) return manifest;
    const path = join(repositoryPath, folder, MANIFEST_FILE);
    throw new DomainError(
      'conflict',
      'manifest_differs',
      `"${path}" was changed: its SHA-256 is ${found}, but ${recordedSha256} was recorded. Its VM definition is not used. Restore the disks, or choose another restore point.`,
      { folder },
    );
  }

  /** All sealed restore points found in the repository itself, ordered by VM folder and time. */
  async listRestorePoints(repositoryPath: string): Promise<readonly FoundRestorePoint[]> {
    const found: FoundRestorePoint[] = [];
    for (const folder of await this.folders(repositoryPath, false)) {
      try {
        const { manifest, sha256: manifestSha256 } = await this.readManifestAndHash(repositoryPath, folder);
        found.push({ folder, manifest, manifest_sha256: manifestSha256, problem: null });
      } catch (error) {
        if (!(error instanceof DomainError) || error.kind !== 'gone') throw error;
        found.push({ folder, manifest: null, manifest_sha256: null, problem: error.message });
      }
    }
    return found;
  }

  /** Restore points that were begun and neither sealed nor removed, as their final folders (without `.partial-`). */
  async listPartials(repositoryPath: string): Promise<readonly string[]> {
    return this.folders(repositoryPath, true);
  }

  /** Bytes available to unprivileged programs. */
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
   * Checks every file of a disk's chain through a descriptor that follows no link: it must be the repository's own regular file with a single name and the
   * recorded length, and its header must name the recorded parent and nothing else. Must precede every opening by another program.
   * @param sealed oldest first
   * @param allowDamaged accept files that are missing or have a different length
   * @returns the files and their facts
   * @throws DomainError `restore_point_damaged`, `restore_point_unsafe` (conflict)
   */
  async checkChain(repositoryPath: string, sealed: readonly SealedFile[], allowDamaged: boolean): Promise<CheckedChain> {
    const found = await this.find(repositoryPath, sealed);
    const problem = chainProblem(found, allowDamaged);
    if (problem !== null) throw chainRefusal(problem);
    const files = found.map(({ sealed: each, path, facts }) => ({ sealed: each, path, facts: typeof facts === 'string' ? null : facts }));
    const [oldest, ...others] = files.map(({ path }) => path);
    if (oldest === undefined) throw new Error('a chain needs at least one file');
    return { images: [oldest, ...others], files };
  }

  /**
   * The same check for one file, by its manifest alone and without other files.
   * @param folder the restore point's folder
   * @returns null: no problem
   */
  async fileProblem(repositoryPath: string, folder: string, backupId: string, disk: ManifestDisk, allowDamaged: boolean): Promise<ChainProblem | null> {
    const sealed = { backup_id: backupId, file: join(folder, disk.file), size_bytes: disk.file_size_bytes, sha256: disk.sha256 };
    const below = disk.backing_file === null ? null : normalize(join(folder, disk.backing_file));
    return chainProblem(await this.find(repositoryPath, [sealed]), allowDamaged, below);
  }

  /** The hashing has just written them. */
  private async requireLists(calls: FileCalls, partial: string, { disks }: Manifest): Promise<void> {
    for (const { blocks, file_size_bytes } of disks) {
      if (blocks === null) continue;
      const file = join(partial, blocks.file);
      const found = await calls.lstat(file);
      const expected = digestListBytes(file_size_bytes);
      if (found.kind !== 'file' || found.size_bytes !== expected) throw new Error(`"${file}" is not a file of ${expected} bytes`);
    }
  }

  private async find(repositoryPath: string, sealed: readonly SealedFile[]): Promise<readonly FoundFile[]> {
    const calls = this.callsAt(repositoryPath);
    return this.onStorage(repositoryPath, 'looking at the files of a restore point', async () => {
      const root = await calls.realpath(repositoryPath);
      return Promise.all(
        sealed.map(async (each): Promise<FoundFile> => {
          const path = join(repositoryPath, each.file);
          const facts = await calls.imageFacts(path).catch((error: unknown) => {
            if (isMissing(error)) return 'missing' as const;
            throw error;
          });
          return { sealed: each, path, expected_path: join(root, each.file), facts };
        }),
      );
    });
  }

  /** Facts of a sealed file, for verifying its content. `file` is relative to the repository. null: it does not exist, or is not a regular file. */
  async imageFacts(repositoryPath: string, file: string): Promise<ImageFacts | null> {
    return this.onStorage(repositoryPath, `looking at ${file}`, () =>
      this.callsAt(repositoryPath)
        .imageFacts(join(repositoryPath, file))
        .catch((error: unknown) => {
          if (isMissing(error)) return null;
          throw error;
        }),
    );
  }

  /**
   * Whether the files of a sealed restore point are immutable, as read from the file system now.
   * @param diskFiles names of its disk files; the lists of their blocks are theirs
   * @returns `some`: also if one is missing; `unknown`: the file system does not say
   */
  async immutabilityOf(repositoryPath: string, folder: string, diskFiles: readonly string[]): Promise<Immutable> {
    this.parse(repositoryPath, folder);
    return this.onStorage(repositoryPath, `reading the attributes of ${folder}`, async () => {
      const calls = this.callsAt(repositoryPath);
      return immutableOf(await calls.immutability(join(repositoryPath, folder)), diskFiles);
    });
  }

  /** Makes a written file read-only before sealing. `file` is relative to the repository. */
  async makeReadOnly(repositoryPath: string, file: string): Promise<void> {
    await this.onStorage(repositoryPath, `changing ${file}`, () => this.callsAt(repositoryPath).changeMode(join(repositoryPath, file), SEALED_MODE));
  }

  /** See checkParent in parent-check.ts. */
  async checkParent(repositoryPath: string, sealed: SealedFacts, place: ParentPlace): Promise<ParentVerdict> {
    const doing = `looking at ${place.file}`;
    return this.onStorage(repositoryPath, doing, () => checkParent(this.callsAt(repositoryPath), sealed, join(repositoryPath, place.file), place));
  }

  /** `file` is relative to the repository; a symbolic link is not followed. null: it does not exist. */
  async look(repositoryPath: string, file: string): Promise<FileFacts | null> {
    return this.onStorage(repositoryPath, `looking at ${file}`, () => ifThere(this.callsAt(repositoryPath).lstat(join(repositoryPath, file))));
  }

  /** See probeRepositoryPath in repository-probe.ts. */
  async probe(path: string, others: readonly string[], ownId: string | null, requireMount = false): Promise<RepositoryProbe> {
    return this.onStorage(path, 'trying it out', () => probeRepositoryPath(this.callsAt, path, others, ownId, requireMount));
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

  /** A wrong path here would delete or overwrite unrelated files, so anything that does not look exactly like ours is refused. */
  private parse(repositoryPath: string, folder: string): { readonly vm: string; readonly partial: boolean } {
    if (!repositoryPath.startsWith('/') || repositoryPath === '/') throw new Error(`"${repositoryPath}" is not the path of a repository`);
    const parsed = parseFolder(folder);
    if (parsed === null) throw new Error(`"${folder}" is not the folder of a restore point`);
    return parsed;
  }

  /** A VM folder that is a symbolic link would lead out of the repository. */
  private async refuseDetour(repositoryPath: string, vm: string): Promise<void> {
    const calls = this.callsAt(repositoryPath);
    const expected = join(await calls.realpath(repositoryPath), vm);
    const actual = await calls.realpath(join(repositoryPath, vm)).catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') return expected;
      throw error;
    });
    if (actual !== expected) throw new Error(`"${expected}" leads to "${actual}", outside the repository's own folder`);
  }

  /**
   * Tries out what the file system can do, in files of its own that it removes.
   * @throws DomainError `repository_not_writable` when QEMU cannot write an image there, repository_unavailable, repository_full
   */
  async measure(path: string): Promise<RepositoryTrial> {
    return this.onStorage(path, 'trying it out', async () => {
      const facts = await this.callsAt(path).measure(path);
      const entry = mountOf(await this.callsAt(path).realpath(path), await mountTable());
      const image = join(path, `.sendense-probe-${randomUUID()}.qcow2`);
      try {
        await runTool(['qemu-img', 'create', '-q', '-f', 'qcow2', image, '1M']);
      } catch (error) {
        if (!(error instanceof ToolError)) throw error;
        const why = `QEMU cannot write an image to "${path}": ${error.stderrTail.trim()}. A share needs the option nobrl (CIFS), or a lock service (NFS 3).`;
        throw new DomainError('invalid', 'repository_not_writable', why, { path });
      } finally {
        await this.callsAt(path).removeTree(image);
      }
      return { ...facts, filesystem: entry?.filesystemType ?? 'unknown', protocol_version: entry === undefined ? null : versionOf(entry), image_locks: true };
    });
  }

  /** Reads only the mount table, so it cannot hang. */
  private async refuseUnmounted(path: string, repositoryId?: string): Promise<void> {
    const required = await this.requiredAt(path);
    const problem = required === null ? null : mountProblem(required, path, await mountTable());
    if (problem !== null) throw unavailable(repositoryId ?? `at "${path}"`, path, 'not_mounted', problem);
  }

  /** An unmounted file system must not look like "nothing to delete". */
  private async refuseMissingRepository(repositoryPath: string): Promise<void> {
    if (!(await exists(this.callsAt(repositoryPath), join(repositoryPath, MARKER_FILE)))) {
      throw new DomainError(
        'unavailable',
        'repository_unavailable',
        `The repository at "${repositoryPath}" has no ${MARKER_FILE}; its file system is probably not mounted.`,
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

function chainRefusal({ kind, backup_id, path, file, reason, detail }: ChainProblem): DomainError {
  const advice =
    kind === 'damaged'
      ? 'Verify the backup to see what else is damaged, choose an older restore point, or request this one as it is with allow_damaged.'
      : 'The file was not opened. Find out who changed the repository, and choose another restore point.';
  return new DomainError(
    'conflict',
    kind === 'damaged' ? 'restore_point_damaged' : 'restore_point_unsafe',
    `The file "${path}" of restore point ${backup_id} ${detail}. ${advice}`,
    { damaged_backup_id: backup_id, file, reason },
  );
}

/** Unlike `mkdir -p`, never creates the repository's own folder: that would write below a mount point whose file system is not mounted. */
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

/** A failed lookup means that there is no such file; a silent file system is a different matter and is rethrown. */
function nullIfSystemError(error: unknown): null {
  if (errnoOf(error) === null) throw error;
  return null;
}

function noneIfSystemError(error: unknown): [] {
  if (errnoOf(error) === null) throw error;
  return [];
}

function isMissing(error: unknown): boolean {
  return errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR';
}

function isSilence(error: unknown): boolean {
  return error instanceof DomainError && error.facts['reason'] === 'silent';
}
