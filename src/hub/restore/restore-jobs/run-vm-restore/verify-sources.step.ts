import { Injectable } from '@nestjs/common';
import { DomainError } from '../../../../kernel/domain-error.js';
import { ChainGuard } from '../../../repositories/repository-storage/chain-guard.js';
import { VmRestoreRecorder } from '../model/record-vm-restore.recorder.js';
import { SourceCheck } from '../model/source-check.service.js';
import type { VmRestoreRequested } from '../model/vm-restore.events.js';

/** Checks every source file against the hash recorded when it was sealed. */
@Injectable()
export class VerifySources {
  constructor(
    private readonly recorder: VmRestoreRecorder,
    private readonly check: SourceCheck,
    private readonly guard: ChainGuard,
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

  /** @throws DomainError source_damaged, unless the job allows damage; the signal's reason */
  verify(job: VmRestoreRequested['data'], signal: AbortSignal): Promise<void> {
    return this.check.verify(job, this.recorder, () => Promise.resolve('parent_altered'), signal);
  }
}
