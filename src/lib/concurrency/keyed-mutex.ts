import { Injectable } from '@nestjs/common';

/**
 * Lets only one piece of work per key run at a time, in the order of asking. Within this process only, which is enough where the hub's lock on the database makes
 * sure that there is one hub.
 */
@Injectable()
export class KeyedMutex {
  private readonly tails = new Map<string, Promise<void>>();

  async runExclusive<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    const before = this.tails.get(key) ?? Promise.resolve();
    const result = before.then(work);
    const tail = result.then(
      () => undefined,
      () => undefined,
    );
    this.tails.set(key, tail);
    try {
      return await result;
    } finally {
      if (this.tails.get(key) === tail) this.tails.delete(key);
    }
  }
}

/** Key under which whatever decides on a VM's restore points is serialised: planning on top of one, and deleting one. */
export function vmLock(vmId: string): string {
  return `vm/${vmId}`;
}

/** Keys under which the beginning of a use that outlives a request (a backup) is serialised with the removal of what is used. Where both are taken, the VM's is the first. */
export function vmUseLock(vmId: string): string {
  return `vm-use/${vmId}`;
}

export function repositoryUseLock(repositoryId: string): string {
  return `repository-use/${repositoryId}`;
}
