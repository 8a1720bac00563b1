import { mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { NodeConfig } from '../node.config.js';
import { PSK_FILE, pskFileText } from '../../lib/nbd/nbd-uri.js';
import { namesIn } from '../../lib/files/if-there.js';
import { syncToDisk, writeFileDurably } from '../../lib/files/durable-write.js';
import { readKeptRecords } from '../model/kept-records.js';
import type { VmRestoreRecord } from '../model/vm-restore.state.js';

/** The state of VM restores that must survive a killed node: `<data>/vm-restores/<job id>/job.json`, and the location of their programs' run directories. */
@Injectable()
export class VmRestoreJournal {
  private readonly root: string;
  private readonly runRoot: string;

  constructor(config: NodeConfig) {
    this.root = join(config.dataDirectory, 'vm-restores');
    this.runRoot = join(config.runDirectory, 'vm-restores');
  }

  /** Holds the run directories of a job's programs, and its generated definition. */
  runDirectory(jobId: string): string {
    return join(this.runRoot, jobId);
  }

  /** The key of the export of the disk with this index, under the file name that qemu looks for. */
  keyFile(jobId: string, index: number): string {
    return join(this.root, jobId, `disk-${index}`, PSK_FILE);
  }

  /** Durable once it resolves. @param keys by disk index; null: the export needs none */
  async writeKeys(jobId: string, keys: readonly (string | null)[]): Promise<void> {
    for (const [index, key] of keys.entries()) {
      if (key === null) continue;
      await mkdir(dirname(this.keyFile(jobId, index)), { recursive: true, mode: 0o700 });
      await writeFileDurably(this.keyFile(jobId, index), pskFileText(key), 0o600);
    }
  }

  programDirectory(jobId: string, index: number, what: 'convert' | 'compare'): string {
    return join(this.runRoot, jobId, `disk-${index}-${what}`);
  }

  async programDirectories(jobId: string): Promise<readonly string[]> {
    return (await namesIn(this.runDirectory(jobId))).filter((name) => name.startsWith('disk-')).map((name) => join(this.runDirectory(jobId), name));
  }

  /** Durable once it resolves. A reader sees the old record or the new one, never a partial one. */
  async write(record: VmRestoreRecord): Promise<void> {
    const folder = join(this.root, record.request.job_id);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeFileDurably(join(folder, 'job.json'), JSON.stringify(record), 0o600);
    await syncToDisk(this.root);
  }

  /** All jobs, and the ids of those with an unreadable record. */
  load(): Promise<{ readonly records: readonly VmRestoreRecord[]; readonly broken: readonly string[] }> {
    return readKeptRecords<VmRestoreRecord>(this.root, 'job.json', 'phase', ({ job_id }) => job_id);
  }

  async remove(jobId: string): Promise<void> {
    await rm(this.runDirectory(jobId), { recursive: true, force: true });
    await rm(join(this.root, jobId), { recursive: true, force: true });
  }
}
