import { Injectable } from '@nestjs/common';
import { filter, type Observable, Subject } from 'rxjs';
import type { NodeJobReport } from '../../../../contract/node-api.js';

export interface HeardReport {
  readonly report: NodeJobReport;
  /** performance.now() when it came in. */
  readonly heardAtMs: number;
}

/**
 * The newest report of each running job, in memory only: fine-grained progress for whoever follows it live, and when the node was last heard of. Events hold what
 * must last.
 */
@Injectable()
export class LiveProgress {
  private readonly newest = new Map<string, HeardReport>();
  private readonly subject = new Subject<NodeJobReport>();

  /** Takes note of a report; false when a newer one of the same job is known already. The node counts a job's reports on across its own restarts. */
  offer(report: NodeJobReport): boolean {
    const known = this.newest.get(report.job_id);
    if (known !== undefined && report.sequence < known.report.sequence) return false;
    this.newest.set(report.job_id, { report, heardAtMs: performance.now() });
    this.subject.next(report);
    return true;
  }

  heard(jobId: string): HeardReport | null {
    return this.newest.get(jobId) ?? null;
  }

  reports(jobId: string): Observable<NodeJobReport> {
    return this.subject.pipe(filter((report) => report.job_id === jobId));
  }

  forget(jobId: string): void {
    this.newest.delete(jobId);
  }
}
