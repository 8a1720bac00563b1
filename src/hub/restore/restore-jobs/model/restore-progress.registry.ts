import { Injectable } from '@nestjs/common';
import { defer, filter, map, type Observable, startWith, Subject } from 'rxjs';

/** Comparing comes after copying, so each phase goes from 0 to 100. */
export type DiskPhase = 'copying' | 'comparing';

export type DiskFigures = { readonly disk_id: number; readonly phase: DiskPhase; readonly progress_percent: number };

/** How far the disks of running jobs are, in memory only: events hold what must last, and only every few seconds. */
@Injectable()
export class RestoreProgress {
  private readonly jobs = new Map<string, Map<number, DiskFigures>>();
  private readonly changed = new Subject<string>();

  set(jobId: string, diskId: number, phase: DiskPhase, percent: number): void {
    const disks = this.jobs.get(jobId) ?? new Map<number, DiskFigures>();
    const known = disks.get(diskId);
    if (known?.phase === phase && known.progress_percent === percent) return;
    disks.set(diskId, { disk_id: diskId, phase, progress_percent: percent });
    this.jobs.set(jobId, disks);
    this.changed.next(jobId);
  }

  /** How much of a disk is copied, 0 to 100; null when this process knows nothing of it. */
  copied(jobId: string, diskId: number): number | null {
    const figures = this.jobs.get(jobId)?.get(diskId);
    if (figures === undefined) return null;
    return figures.phase === 'copying' ? figures.progress_percent : 100;
  }

  /** The figures of all disks that were begun: at once where there are some, then whenever one of them changes. */
  changes(jobId: string): Observable<{ readonly disks: readonly DiskFigures[] }> {
    const changes = this.changed.pipe(filter((changed) => changed === jobId));
    return defer(() => (this.jobs.has(jobId) ? changes.pipe(startWith(jobId)) : changes)).pipe(
      map(() => ({ disks: [...(this.jobs.get(jobId)?.values() ?? [])] })),
    );
  }

  forget(jobId: string): void {
    this.jobs.delete(jobId);
  }
}
