import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Manifest, ManifestDisk } from '../../src/storage/repository-files/manifest.js';
import type { ManifestSigner } from '../../src/storage/repository-files/manifest-signature.js';
import { FORMAT_2, newSigner, writeDigests } from './sealed-disks.js';
import { RepositoryFiles } from '../../src/storage/repository-files/repository-files.js';

export const CHAIN_HUB = 'hub';
const run = promisify(execFile);
const MIB = 1024 * 1024;
const REPOSITORY = '11111111-1111-4111-8111-111111111111';

/** A restore point with the digests of its disks' content, which stay the same whatever happens to its files. */
export interface SealedPoint {
  readonly backupId: string;
  readonly folder: string;
  readonly parent: SealedPoint | null;
  /** By disk_id: SHA-256 of the raw disk. */
  readonly truth: readonly string[];
}

export interface NewPoint {
  /** Counts all restore points ever made, from 1. */
  readonly number: number;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  /** null: a full. */
  readonly parent: SealedPoint | null;
  readonly disks: number;
  /** Commands of qemu-io that write what a disk has. @param whole whether the parent does not have the disk */
  readonly writes: (disk: number, whole: boolean) => readonly string[];
}

/** A real chain in a real repository, made without a hub: each restore point has data, overwritten data and discarded data. */
export class SealedChain {
  readonly points: SealedPoint[] = [];

  private constructor(
    readonly repository: string,
    readonly diskBytes: number,
    private readonly files: RepositoryFiles,
    /** Default: another one for each restore point. */
    private readonly signer: ManifestSigner | null,
  ) {}

  /** @param directory where the repository is made */
  static async create(directory: string, diskBytes = 16 * MIB, signer: ManifestSigner | null = null): Promise<SealedChain> {
    const repository = join(directory, 'repository');
    const files = new RepositoryFiles();
    await mkdir(repository);
    await files.writeMarker(repository, { format_version: 2, repository_id: REPOSITORY, created_at: '2026-11-21T10:00:00.000Z', role: 'primary' });
    return new SealedChain(repository, diskBytes, files, signer);
  }

  /**
   * Seals the next restore point on the newest one, or a full.
   * @param disks how many disks it has; those that its parent does not have are stored in full
   * @param random 0 to 1: chooses what is written
   */
  async add(disks: number, random: () => number): Promise<SealedPoint> {
    const number = this.points.length + 1;
    const startedAt = `2026-11-${String(number).padStart(2, '0')}T10:15:00.000Z`;
    const writes = (disk: number, whole: boolean): readonly string[] => this.writes(number, disk, whole, random);
    const sealed = await this.seal({ number, startedAt, parent: this.points.at(-1) ?? null, disks, writes });
    const point = { ...sealed, truth: await this.contentOf(sealed.folder, disks) };
    this.points.push(point);
    return point;
  }

  /** Seals a restore point. */
  async seal({ number, startedAt, parent, disks, writes }: NewPoint): Promise<Omit<SealedPoint, 'truth'> & { readonly manifest: Manifest }> {
    const backupId = `0193f1de-7c1c-7a2e-8f0c-${String(number).padStart(12, '0')}`;
    const type = parent === null ? 'full' : 'incremental';
    const folder = `vm-00000000/${this.files.restorePointFolder(startedAt, type, backupId)}`;
    const partial = await this.files.createPartial(this.repository, folder);
    const entries: ManifestDisk[] = [];
    for (let disk = 0; disk < disks; disk++) {
      const file = `disk-${disk}.qcow2`;
      const path = join(partial, file);
      const backing = parent !== null && disk < parent.truth.length ? `../${parent.folder.split('/')[1] ?? ''}/${file}` : null;
      await this.files.createImage(this.repository, path, this.diskBytes, backing);
      const commands = writes(disk, backing === null).flatMap((command) => ['-c', command]);
      if (commands.length > 0) await run('qemu-io', ['-f', 'qcow2', ...commands, path]);
      const { size, mtimeNs } = await stat(path, { bigint: true });
      entries.push({
        disk_id: disk,
        disk_key: `vd${disk}`,
        file,
        virtual_size_bytes: this.diskBytes,
        source_format: 'qcow2',
        change_id: `change-${number}`,
        parent_change_id: backing === null ? null : `change-${number - 1}`,
        file_size_bytes: Number(size),
        sha256: await digestOf(path),
        mtime_ns: mtimeNs.toString(),
        backing_file: backing,
        blocks: writeDigests(partial, file, await readFile(path)),
        compression: null,
      });
    }
    const manifest: Manifest = {
      format_version: 2,
      hub_id: CHAIN_HUB,
      repository_id: REPOSITORY,
      backup_id: backupId,
      backup_type: type,
      full_reason: type === 'full' ? 'first_backup' : null,
      chain_id: 'chain',
      parent: parent === null ? null : { backup_id: parent.backupId, folder: parent.folder },
      vm: { vm_id: '00000000', name: 'vm', source: 'image', source_ref: '/vm', node_id: 'node' },
      instant: startedAt,
      started_at: startedAt,
      sealed_at: startedAt,
      disks: entries,
      definition: null,
      event_position: '1',
      ledger_checkpoint: null,
      ...FORMAT_2,
    };
    await this.files.seal({ repositoryPath: this.repository, folder, manifest, signer: this.signer ?? newSigner(CHAIN_HUB) });
    return { backupId, folder, parent, manifest };
  }

  /** Digests of the disks as qemu-img reads them through the headers of the files, as a user without a hub does. */
  async contentOf(folder: string, disks: number): Promise<readonly string[]> {
    const digests: string[] = [];
    const directory = await mkdtemp(join(tmpdir(), 'sendense-content-'));
    try {
      for (let disk = 0; disk < disks; disk++) {
        const raw = join(directory, `${disk}.raw`);
        await run('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', join(this.repository, folder, `disk-${disk}.qcow2`), raw]);
        digests.push(await digestOf(raw));
      }
      return digests;
    } finally {
      await rm(directory, { recursive: true });
    }
  }

  private writes(number: number, disk: number, whole: boolean, random: () => number): readonly string[] {
    const clusters = this.diskBytes / 65_536;
    return Array.from({ length: whole ? 12 : 6 }, (_, index) => {
      const length = 1 + Math.floor(random() * (whole ? clusters / 6 : clusters / 16));
      const offset = Math.floor(random() * (clusters - length));
      const place = `${offset * 65_536} ${length * 65_536 - (index % 2) * 512}`;
      if (!whole && index % 3 === 2) return `write -z -u ${place}`;
      return `write -P ${((number * 31 + disk * 7 + index) % 255) + 1} ${place}`;
    });
  }
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const bytes of createReadStream(path)) hash.update(bytes as Buffer); // of a binary stream
  return hash.digest('hex');
}
