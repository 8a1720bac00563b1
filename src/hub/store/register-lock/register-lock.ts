import { Injectable } from '@nestjs/common';
import { EventStore } from '../event-store/event-store.port.js';
import { KeyedMutex } from '../../../lib/concurrency/keyed-mutex.js';
import { ReadModels } from '../postgres/read-models.js';

/** How long a register waits for its read models, in milliseconds. */
const PATIENCE_MS = 5_000;

/**
 * For rules that span streams, such as "no two VMs have one name". Each VM is a stream of its own, so expected revisions cannot guard that; instead all changes of
 * a register come one after the other, and each sees the read model with everything before it.
 *
 * - One after the other: there is one hub to a database (it holds a lock there), so a mutex in this process is enough.
 * - Everything before it: the read models named are waited for up to the newest event of the store, whoever wrote it.
 *
 * A reservation stream per name would do without the mutex, but needs a second stream per change, and repair where a crash falls between the two.
 */
@Injectable()
export class RegisterLock {
  private readonly mutex = new KeyedMutex();

  constructor(
    private readonly store: EventStore,
    private readonly readModels: ReadModels,
  ) {}

  /** @throws DomainError `read_model_behind`, `projection_halted`, and whatever `work` throws */
  async run<Result>(register: string, readModels: readonly string[], work: () => Promise<Result>): Promise<Result> {
    return this.mutex.runExclusive(register, async () => {
      const head = await this.store.head();
      if (head !== null) await Promise.all(readModels.map((name) => this.readModels.waitFor(head, PATIENCE_MS, name)));
      return work();
    });
  }
}

/** VMs and nodes share one register, because a VM stands on its node. */
export const VMS_AND_NODES = 'vms-and-nodes';
export const REPOSITORIES = 'repositories';
