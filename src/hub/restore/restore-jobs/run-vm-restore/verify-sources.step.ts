import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { MarkRestorePointDamaged } from '../../../backup/chains/model/chain.commands.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { FileHasher, HashingFailedError } from '../../../../storage/hashing/file-hasher.js';
import { ChainGuard } from '../../../repositories/repository-storage/chain-guard.js';
import { VmRestoreRecorder } from '../model/record-vm-restore.recorder.js';
import type { DamagedSource } from '../model/restore-job.events.js';
import type { VmRestoreRequested } from '../model/vm-restore.events.js';

/** Checks every source file against the hash recorded when it was sealed. */
@Injectable()
export class VerifySources {
  constructor(
    private readonly recorder: VmRestoreRecorder,
    private readonly commands: CommandBus,
    private readonly hasher: FileHasher,
    private readonly guard: ChainGuard,
    private readonly clock: Clock,
  ) {}

  /**
   * Verifies the files before they are opened. Files unchanged since their last verification are not read again.
   * @throws DomainError restore_point_unsafe, restore_point_damaged, and as verify; the signal's reason
   */
  async prove(job: VmRestoreRequested['data'], signal: AbortSignal): Promise<void> {
    try {
      for (const { sources } of job.disks) {
        await this.guard.open(job.repository_path, sources, { allowDamaged: job.allow_damaged === true, patienceMs: Infinity, signal });
      }
    } catch (error) {
      // verify() marks damaged restore points.
      if (error instanceof DomainError && error.code === 'restore_point_damaged') await this.verify(job, signal);
      throw error;
    }
  }

  /** A damaged file also marks its restore point in the chain. @throws DomainError source_damaged, unless the job allows damage; the signal's reason */
  async verify(job: VmRestoreRequested['data'], signal: AbortSignal): Promise<void> {
    const sources = [...new Map(job.disks.flatMap((disk) => disk.sources.map((source) => [source.file, source]))).values()];
    const damaged: DamagedSource[] = [];
    await Promise.all(
      sources.map(async (source) => {
        const path = join(job.repository_path, source.file);
        const sha256 = await this.hasher.sha256(path, signal).catch((error: unknown) => {
          if (error instanceof HashingFailedError && error.saysOfTheFile) return `unreadable (${error.code})`;
          throw error;
        });
        if (sha256 === source.sha256) return;
        const what = `its SHA-256 is ${sha256}, but ${source.sha256} was sealed`;
        const detail = `The file "${path}" of restore point ${source.backup_id} differs from the sealed one: ${what}.`;
        const finding = { code: 'parent_altered', detail, file: source.file, verification_id: null } as const;
        await this.commands.execute(new MarkRestorePointDamaged(job.chain_id, source.backup_id, finding, await this.recorder.context(job.job_id)));
        if (job.allow_damaged !== true) throw new DomainError('conflict', 'source_damaged', detail, { backup_id: source.backup_id, file: path });
        damaged.push({ backup_id: source.backup_id, file: source.file, detail: what });
      }),
    );
    if (damaged.length > 0) {
      await this.recorder.record(job.job_id, { kind: 'sources_damaged', files: damaged, at: this.clock.iso() });
      return;
    }
    const bytes = sources.reduce((sum, source) => sum + source.size_bytes, 0);
    await this.recorder.record(job.job_id, { kind: 'sources_verified', files: sources.length, bytes, at: this.clock.iso() });
  }
}
