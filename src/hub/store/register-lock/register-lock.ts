import { Injectable } from '@nestjs/common';
import { KeyedMutex } from '../../../lib/concurrency/keyed-mutex.js';
import { ReadModels } from '../postgres/read-models.js';

/**
 * For rules that span streams, such as "no two VMs have the same name". Each VM has its own stream, so expected revisions cannot enforce them. Instead,
 * all changes of a register run one after the other, and each sees a read model that includes everything before it.
 *
 * - One after the other: a database has one hub (it holds a lock there), so a mutex in this process is enough.
 * - Everything before it: the lock waits until the named read models reach the newest event of the store, regardless of its author.
 *
 * A reservation stream per name would need no mutex, but a second stream per change, and repair after a crash between the two.
 */
@Injectable()
export class RegisterLock {
  private readonly mutex = new KeyedMutex();

  constructor(private readonly readModels: ReadModels) {}

  /** @throws DomainError `read_model_behind`, `projection_halted`, and errors of `work` */
  async run<Result>(register: string, readModels: readonly string[], work: () => Promise<Result>): Promise<Result> {
    return this.mutex.runExclusive(register, async () => {
      await this.readModels.current(...readModels);
      return work();
    });
  }
}

/** VMs and nodes share one register, because a VM refers to its node. */
export const VMS_AND_NODES = 'vms-and-nodes';
export const REPOSITORIES = 'repositories';
export const POLICIES = 'policies';
