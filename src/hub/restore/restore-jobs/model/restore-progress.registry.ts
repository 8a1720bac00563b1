import { Injectable } from '@nestjs/common';
import { currentRequest } from '../../../../lib/http/request-state.js';
import { defer, filter, map, type Observable, startWith, Subject } from 'rxjs';

/** Comparing follows copying; each phase goes from 0 to 100. */
export type DiskPhase = 'copying' | 'comparing';

export type DiskFigures = { readonly disk_id: number; readonly phase: DiskPhase; readonly progress_percent: number };

/** Progress of the disks of running jobs, in memory only. Events record progress durably, but only every few seconds. */
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

  /** Copied share of a disk, 0 to 100; null when this process has no figures for it, or the request reads the past. */
  copied(jobId: string, diskId: number): number | null {
    if ((currentRequest()?.instant ?? null) !== null) return null;
    const figures = this.jobs.get(jobId)?.get(diskId);
    if (figures === undefined) return null;
    return figures.phase === 'copying' ? figures.progress_percent : 100;
  }

  /** The figures of all disks that have begun: immediately if there are any, then on every change. */
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
