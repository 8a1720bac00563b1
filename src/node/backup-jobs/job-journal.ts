import { mkdir, readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import { NodeConfig } from '../node.config.js';
import { pskFileText } from '../../lib/nbd/nbd-uri.js';
import type { KeyedDigest } from '../../contract/content-digest.js';
import { ifThere, namesIn } from '../../lib/files/if-there.js';
import { syncToDisk, writeFileDurably } from '../../lib/files/durable-write.js';
import { isOutOfSpace } from '../../lib/process/system-error.js';
import { type Extent, extentListText, parseExtentList } from '../model/extents.plan.js';
import { readKeptRecords } from '../model/kept-records.js';
import type { JobRecord } from '../model/job.state.js';

const LEAST_BYTES = 65_536;

/**
 * The state of jobs that must survive a killed node: `<data>/jobs/<job id>/job.json`, with the extents of each disk next to it. Run directories of job
 * processes are in a folder of this journal's own below the configured run directory, so any entry there without a job is an orphan.
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

  /** Run directory of the copy of the disk with this index. */
  copyDirectory(jobId: string, index: number): string {
    return join(this.runRoot, jobId, `copy-${index}`);
  }

  extentsFile(jobId: string, index: number): string {
    return join(this.root, jobId, `disk-${index}.extents`);
  }

  /** File from which the copy of a disk reads its rate limit. */
  rateFile(jobId: string, index: number): string {
    return join(this.root, jobId, `disk-${index}.rate`);
  }

  /** The key of the target of the disk with this index. */
  keyFile(jobId: string, index: number): string {
    return join(this.root, jobId, `disk-${index}.psk`);
  }

  /** File in which the copy of a disk leaves the digest of the data it sent. */
  digestFile(jobId: string, index: number): string {
    return join(this.root, jobId, `disk-${index}.digest`);
  }

  /** For a copy that exited with 0. @returns null if it was started by a version without digests */
  async readDigest(jobId: string, index: number): Promise<KeyedDigest | null> {
    const text = await ifThere(readFile(this.digestFile(jobId, index), 'utf8'));
    return text === null ? null : (JSON.parse(text) as KeyedDigest); // written by our own program
  }

  /** Durable once it resolves. A reader sees the old record or the new one, never a partial one. */
  async write(record: JobRecord): Promise<void> {
    await writeFileDurably(join(this.root, record.request.job_id, 'job.json'), JSON.stringify(record), 0o600);
  }

  /**
   * Creates the job's directory, and writes its first record and the keys of its targets. @param keys by disk index; null: the target needs none @throws
   * DomainError node_storage_full; then nothing is left behind
   */
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

  /** Whether so little space is left that a failing process may not be able to record the reason. */
  async isFull(): Promise<boolean> {
    const { bavail, bsize } = await statfs(this.runRoot);
    return bavail * bsize < LEAST_BYTES;
  }

  storageFull(): DomainError {
    return new DomainError('storage_full', 'node_storage_full', `The node has no space left for its own files in ${this.root}. Free some on its machine.`, {
      path: this.root,
    });
  }

  /** Not synced to disk, because a power cut also ends the processes that need them. */
  async writeExtents(jobId: string, index: number, extents: readonly Extent[]): Promise<void> {
    await writeFile(this.extentsFile(jobId, index), extentListText(extents), { mode: 0o600 });
  }

  async writeRate(jobId: string, index: number, text: string): Promise<void> {
    await writeFile(this.rateFile(jobId, index), text, { mode: 0o600 });
  }

  async readExtents(jobId: string, index: number): Promise<readonly Extent[]> {
    return parseExtentList(await readFile(this.extentsFile(jobId, index), 'utf8'));
  }

  /** All jobs, and the ids of those with an unreadable record. */
  load(): Promise<{ readonly records: readonly JobRecord[]; readonly broken: readonly string[] }> {
    return readKeptRecords<JobRecord>(this.root, 'job.json', 'at', ({ job_id }) => job_id);
  }

  /** Ids of all jobs that have, or may have, processes. */
  async jobsWithProcesses(): Promise<readonly string[]> {
    await mkdir(this.runRoot, { recursive: true, mode: 0o700 });
    return readdir(this.runRoot);
  }

  /** Run directories of the job's copies. */
  async copyDirectories(jobId: string): Promise<readonly string[]> {
    const names = await namesIn(join(this.runRoot, jobId));
    return names.filter((name) => name.startsWith('copy-')).map((name) => join(this.runRoot, jobId, name));
  }

  /** Call only once none of the job's processes is running. */
  async removeRunDirectories(jobId: string): Promise<void> {
    await rm(join(this.runRoot, jobId), { recursive: true, force: true });
  }

  async remove(jobId: string): Promise<void> {
    await rm(join(this.root, jobId), { recursive: true, force: true });
    await syncToDisk(this.root);
  }
}
