import { Injectable } from '@nestjs/common';

/** How far the disks of running jobs are, in memory only: events hold what must last, and only every few seconds. */
@Injectable()
export class RestoreProgress {
  private readonly percents = new Map<string, Map<number, number>>();

  set(jobId: string, diskId: number, percent: number): void {
    const disks = this.percents.get(jobId) ?? new Map<number, number>();
    disks.set(diskId, percent);
    this.percents.set(jobId, disks);
  }

  /** 0 to 100; null when this process knows nothing of it. */
  get(jobId: string, diskId: number): number | null {
    return this.percents.get(jobId)?.get(diskId) ?? null;
  }

  forget(jobId: string): void {
    this.percents.delete(jobId);
  }
}
