import { Injectable } from '@nestjs/common';

/** How much work of any kind the node has under way: one that is to be replaced is waited for until there is none. */
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
