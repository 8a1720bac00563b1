import { Injectable } from '@nestjs/common';

/** Counts the active jobs of all kinds. A node that is to be replaced is replaced only when it has none. */
@Injectable()
export class ActiveJobs {
  private readonly counts: (() => number)[] = [];

  add(count: () => number): void {
    this.counts.push(count);
  }

  get count(): number {
    return this.counts.reduce((sum, count) => sum + count(), 0);
  }
}
