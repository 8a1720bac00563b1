import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Keeper } from '../../src/keeper/keeper.js';
import { KeeperState } from '../../src/keeper/keeper-state.store.js';
import type { ClockReading } from '../../src/keeper/trusted-clock.plan.js';
import type { Logger } from '../../src/lib/logging/logger.js';
import { type Manifest, manifestText } from '../../src/storage/repository-files/manifest.js';
import { RepositoryFiles } from '../../src/storage/repository-files/repository-files.js';
import { LoopMount, type LoopFileSystem } from './loop-mount.js';
import { hasTool } from './require-tools.js';
import { FORMAT_2, writeDigests } from './sealed-disks.js';

const run = promisify(execFile);
const DAY = 86_400_000;
const MIB: Readonly<Record<LoopFileSystem, number>> = { ext4: 16, xfs: 320, btrfs: 128 };
const REPOSITORY = '11111111-1111-4111-8111-111111111111';

/** The account that owns the repository, as the hub's does. */
export const NOBODY = 65534;
export const NOW = Date.parse('2027-01-05T12:00:00.000Z');
export const FULL = 'vm-00000000/20270101T000000Z-full-00000001';
export const INCREMENTAL = 'vm-00000000/20270102T000000Z-incr-00000002';
export const PARENT = { backup_id: '00000001', folder: FULL };

/** The machine after so many days without a restart. */
export const at = (days: number): ClockReading => ({ wall_ms: NOW + days * DAY, boot_ms: days * DAY, boot_id: 'boot' });

/** null: this machine can make and lock one. */
export function cannotKeep(): string | null {
  const missing = ['losetup', 'mkfs.ext4', 'mkfs.xfs', 'mkfs.btrfs', 'chattr', 'lsattr', 'setpriv'].filter((tool) => !hasTool(tool));
  if (missing.length > 0) return `not on PATH: ${missing.join(', ')}`;
  return process.getuid?.() === 0 ? null : 'a loop mount with immutable files needs root';
}

/** A repository on a file system of its own, and a keeper that is started again for each look. */
export class KeptRepository {
  readonly warnings: string[] = [];
  private readonly files = new RepositoryFiles();

  private constructor(
    readonly directory: string,
    readonly mount: LoopMount,
    readonly path: string,
  ) {}

  static async create(type: LoopFileSystem): Promise<KeptRepository> {
    const directory = await mkdtemp(join(tmpdir(), 'sendense-keeper-'));
    await run('chmod', ['755', directory]);
    await mkdir(join(directory, 'state'), { mode: 0o700 });
    const mount = await LoopMount.create(directory, MIB[type], type);
    const kept = new KeptRepository(directory, mount, join(mount.path, 'repository'));
    await mkdir(kept.path);
    const marker = { format_version: 2, repository_id: REPOSITORY, created_at: '2027-01-01T00:00:00.000Z', role: 'primary' } as const;
    await kept.files.writeMarker(kept.path, marker);
    return kept;
  }

  get state(): string {
    return join(this.directory, 'state');
  }

  async remove(): Promise<void> {
    await this.mount.remove();
    await rm(this.directory, { recursive: true, force: true });
  }

  async round(reading: ClockReading, settings = { lockDays: 0, longestLockDays: 3650 }): Promise<void> {
    const log = { info: () => undefined, warn: (message: string) => void this.warnings.push(message) } as unknown as Logger; // the keeper uses these two
    await new Keeper({ repositories: [this.path], ...settings }, new KeeperState(this.state), () => reading, log).round();
  }

  immutable(folder: string): Promise<string> {
    return this.files.immutabilityOf(this.path, folder, ['disk-0.qcow2']);
  }

  /** @param days its lock, from NOW; null: none */
  async seal(folder: string, days: number | null, changes: Partial<Manifest> = {}): Promise<string> {
    const path = join(this.path, folder);
    await mkdir(path, { recursive: true });
    await writeFile(join(path, 'disk-0.qcow2'), folder);
    const incremental = changes.parent !== undefined;
    const manifest: Manifest = {
      format_version: 2,
      hub_id: 'hub',
      repository_id: REPOSITORY,
      backup_id: folder.slice(-8),
      backup_type: incremental ? 'incremental' : 'full',
      full_reason: incremental ? null : 'requested',
      chain_id: 'chain',
      parent: null,
      vm: { vm_id: 'vm', name: 'vm', source: 'image', source_ref: '/vm', node_id: 'node' },
      instant: '2027-01-01T00:00:00.000Z',
      started_at: '2027-01-01T00:00:00.000Z',
      sealed_at: '2027-01-01T00:00:00.000Z',
      disks: [
        {
          disk_id: 0,
          disk_key: 'vda',
          file: 'disk-0.qcow2',
          virtual_size_bytes: 1024,
          source_format: 'qcow2',
          change_id: 'b',
          parent_change_id: incremental ? 'a' : null,
          file_size_bytes: folder.length,
          sha256: 'a'.repeat(64),
          mtime_ns: '0',
          backing_file: incremental ? '../20270101T000000Z-full-00000001/disk-0.qcow2' : null,
          blocks: writeDigests(path, 'disk-0.qcow2', folder),
          compression: null,
        },
      ],
      definition: null,
      event_position: '1',
      ledger_checkpoint: null,
      ...FORMAT_2,
      signing_key: 'key',
      locked_until: days === null ? null : new Date(NOW + days * DAY).toISOString(),
      ...changes,
    };
    await writeFile(join(path, 'manifest.json'), manifestText(manifest));
    await writeFile(join(path, 'manifest.json.sig'), 'signature');
    await run('chown', ['-R', `${NOBODY}:${NOBODY}`, path]);
    await run('chown', [`${NOBODY}:${NOBODY}`, this.path, dirname(path)]);
    return path;
  }
}
