import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { DomainError } from '../../../../kernel/domain-error.js';
import { messageOf } from '../../../../kernel/error-message.js';
import { writeFileDurably } from '../../../../lib/files/durable-write.js';
import { type Checkpoint, readCheckpoint } from '../../../../lib/ledger/checkpoint.js';
import { errnoOf } from '../../../../lib/process/system-error.js';
import { HubConfig } from '../../../hub.config.js';
import { LedgerKeys } from './ledger-keys.service.js';

/** The last checkpoint that this hub has signed, next to its key, so that a database that was put back contradicts it. */
@Injectable()
export class LastCheckpoint {
  readonly file: string;

  constructor(
    config: HubConfig,
    private readonly keys: LedgerKeys,
  ) {
    this.file = join(config.sharedDirectory, 'ledger.checkpoint');
  }

  /** null: there is none, because the hub is new or an operator has removed it. @throws DomainError `checkpoint_refused` if the file holds another thing */
  async read(): Promise<(Checkpoint & { readonly signedAt: Date }) | null> {
    try {
      const [note, { mtime }] = await Promise.all([readFile(this.file, 'utf8'), stat(this.file)]);
      const checkpoint = readCheckpoint(note);
      if (checkpoint.origin !== this.keys.origin) throw new Error(`it is of ${checkpoint.origin}`);
      return { ...checkpoint, signedAt: mtime };
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return null;
      if (errnoOf(error) !== null) throw error;
      throw this.refusal(`${this.file} does not hold a checkpoint of this hub (${messageOf(error)})`);
    }
  }

  /** On stable storage when it resolves. */
  keep(note: string): Promise<void> {
    return writeFileDurably(this.file, note, 0o600);
  }

  /** @param reason a clause */
  refusal(reason: string): DomainError {
    const remedy = `The hub signs no checkpoint until the history continues the last one, or an operator moves ${this.file} away: docs/ledger.md.`;
    return new DomainError('conflict', 'checkpoint_refused', `${reason}. ${remedy}`, { file: this.file });
  }
}
