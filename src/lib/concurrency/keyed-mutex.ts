import { Injectable } from '@nestjs/common';

/** Runs one task per key at a time, in request order. Works within this process only; the hub's lock on the database ensures that there is only one hub. */
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

/** Serialises everything that depends on a VM's restore points: planning a backup on top of one, and deleting one. */
export function vmLock(vmId: string): string {
  return `vm/${vmId}`;
}

/** Serialise starting a use that outlives its request (a backup) with removing the object in use. When both locks are needed, the VM's comes first. */
export function vmUseLock(vmId: string): string {
  return `vm-use/${vmId}`;
}

export function repositoryUseLock(repositoryId: string): string {
  return `repository-use/${repositoryId}`;
}
