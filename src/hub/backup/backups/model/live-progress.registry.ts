import { Injectable } from '@nestjs/common';
import { filter, type Observable, Subject } from 'rxjs';
import type { NodeJobReport } from '../../../../contract/backup-job.js';

export interface HeardReport {
  readonly report: NodeJobReport;
  /** performance.now() when the report arrived. */
  readonly heardAtMs: number;
}

/**
 * The newest report of each running job, in memory only. It gives fine-grained progress to clients that follow live, and the time of the node's last report.
 * Durable facts are in the events.
 */
@Injectable()
export class LiveProgress {
  private readonly newest = new Map<string, HeardReport>();
  private readonly subject = new Subject<NodeJobReport>();

  /** Accepts a report; false if a newer one of the same job is already known. The node continues a job's sequence numbers across its restarts. */
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
