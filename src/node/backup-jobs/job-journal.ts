import { mkdir, readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import { NodeConfig } from '../node.config.js';
import { pskFileText } from '../../lib/nbd/nbd-uri.js';
import type { KeyedDigest } from '../../contract/content-digest.js';
import { syncToDisk, writeFileDurably } from '../../lib/files/durable-write.js';
import { errnoOf, isOutOfSpace } from '../../lib/process/system-error.js';
import { type Extent, extentListText, parseExtentList } from '../model/extents.plan.js';
import type { JobRecord } from '../model/job.state.js';

/** Every job id is one of these, so it is safe as the name of a directory and inside the name of a bitmap. */
export const JOB_ID = /^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/;

const LEAST_BYTES = 65_536;

/**
 * What the node must know of its jobs after it was killed: `<data>/jobs/<job id>/job.json`, and the extents of each disk beside it. Run directories of a job's
 * processes are in a folder of this journal's own below the configured run directory, so that whatever is in there without a job is known to be an orphan.
 */
@Injectable()
export class JobJournal {
  private readonly root: string;
  private readonly runRoot: string;

  constructor(config: NodeConfig) {
    this.root = join(config.dataDirectory, 'jobs');
    this.runRoot = join(config.runDirectory, 'backup-jobs');
  }

  snapshotDirectory(jobId: string): string {
    return join(this.runRoot, jobId, 'snapshot');
  }

  /** Run directory of the copy of the disk with this number in the job. */
  copyDirectory(jobId: string, index: number): string {
    return join(this.runRoot, jobId, `copy-${index}`);
  }

  extentsFile(jobId: string, index: number): string {
    return join(this.root, jobId, `disk-${index}.extents`);
  }

  /** Where the copy of a disk reads how fast it may be. */
  rateFile(jobId: string, index: number): string {
    return join(this.root, jobId, `disk-${index}.rate`);
  }

  /** The key of the target of the disk with this number. */
  keyFile(jobId: string, index: number): string {
    return join(this.root, jobId, `disk-${index}.psk`);
  }

  /** Where the copy of a disk leaves the digest of what it has sent. */
  digestFile(jobId: string, index: number): string {
    return join(this.root, jobId, `disk-${index}.digest`);
  }

  /** Of a copy that has ended with 0. @returns null when it was begun by a version that made none */
  async readDigest(jobId: string, index: number): Promise<KeyedDigest | null> {
    try {
      return JSON.parse(await readFile(this.digestFile(jobId, index), 'utf8')) as KeyedDigest; // written by our own program
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return null;
      throw error;
    }
  }

  /** Durable when it resolves; the old record or the new one, never half of one. */
  async write(record: JobRecord): Promise<void> {
    await writeFileDurably(join(this.root, record.request.job_id, 'job.json'), JSON.stringify(record), 0o600);
  }

  /** Makes the job's directory, and writes the keys of its targets and its first record. @param keys by the disks' numbers; null: the target needs none @throws DomainError node_storage_full; then nothing is left of it */
  async create(record: JobRecord, keys: readonly (string | null)[]): Promise<void> {
    const directory = join(this.root, record.request.job_id);
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      for (const [index, key] of keys.entries()) {
        if (key !== null) await writeFileDurably(this.keyFile(record.request.job_id, index), pskFileText(key), 0o600);
      }
      await this.write(record);
      await syncToDisk(this.root);
    } catch (error) {
      await rm(directory, { recursive: true, force: true });
      throw isOutOfSpace(error) ? this.storageFull() : error;
    }
  }

  /** Whether so little space is left that a process which fails has no room to say why. */
  async isFull(): Promise<boolean> {
    const { bavail, bsize } = await statfs(this.runRoot);
    return bavail * bsize < LEAST_BYTES;
  }

  storageFull(): DomainError {
    return new DomainError('storage_full', 'node_storage_full', `The node has no space left for its own files in ${this.root}. Free some on its machine.`, {
      path: this.root,
    });
  }

  /** Not synced to disk: after a power cut the processes that need them are gone too. */
  async writeExtents(jobId: string, index: number, extents: readonly Extent[]): Promise<void> {
    await writeFile(this.extentsFile(jobId, index), extentListText(extents), { mode: 0o600 });
  }

  async writeRate(jobId: string, index: number, text: string): Promise<void> {
    await writeFile(this.rateFile(jobId, index), text, { mode: 0o600 });
  }

  async readExtents(jobId: string, index: number): Promise<readonly Extent[]> {
    return parseExtentList(await readFile(this.extentsFile(jobId, index), 'utf8'));
  }

  /** All jobs, and by id those whose record cannot be read. */
  async load(): Promise<{ readonly records: readonly JobRecord[]; readonly broken: readonly string[] }> {
    await mkdir(this.root, { recursive: true, mode: 0o700 });
    const records: JobRecord[] = [];
    const broken: string[] = [];
    for (const jobId of await readdir(this.root)) {
      const record = await this.read(jobId);
      if (record === null) broken.push(jobId);
      else records.push(record);
    }
    return { records, broken };
  }

  /** Ids of all jobs that have, or may have, processes. */
  async jobsWithProcesses(): Promise<readonly string[]> {
    await mkdir(this.runRoot, { recursive: true, mode: 0o700 });
    return readdir(this.runRoot);
  }

  /** Run directories of the job's copies. */
  async copyDirectories(jobId: string): Promise<readonly string[]> {
    const names = await readdir(join(this.runRoot, jobId)).catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
      throw error;
    });
    return names.filter((name) => name.startsWith('copy-')).map((name) => join(this.runRoot, jobId, name));
  }

  /** Only once none of the job's processes runs any more. */
  async removeRunDirectories(jobId: string): Promise<void> {
    await rm(join(this.runRoot, jobId), { recursive: true, force: true });
  }

  async remove(jobId: string): Promise<void> {
    await rm(join(this.root, jobId), { recursive: true, force: true });
    await syncToDisk(this.root);
  }

  private async read(jobId: string): Promise<JobRecord | null> {
    try {
      const record: unknown = JSON.parse(await readFile(join(this.root, jobId, 'job.json'), 'utf8'));
      return isRecord(record) && record.request.job_id === jobId ? record : null;
    } catch {
      return null;
    }
  }
}

/** The file is written by this program alone and replaced whole, so its format number vouches for the rest. */
function isRecord(value: unknown): value is JobRecord {
  return typeof value === 'object' && value !== null && 'format' in value && value.format === 1 && 'request' in value && 'at' in value;
}
