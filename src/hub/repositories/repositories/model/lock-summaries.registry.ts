import { Injectable } from '@nestjs/common';
import type { LockSummary } from './lock-summary.plan.js';

/** The locks of repositories, as of the last round of the hub that read them. */
@Injectable()
export class LockSummaries {
  private summaries: ReadonlyMap<string, LockSummary> = new Map();

  set(summaries: ReadonlyMap<string, LockSummary>): void {
    this.summaries = summaries;
  }

  /** null: there was no round yet. */
  of(repositoryId: string): LockSummary | null {
    return this.summaries.get(repositoryId) ?? null;
  }
}
