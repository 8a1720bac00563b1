import { Command } from '@nestjs/cqrs';
import type { RestorePointAccessed, RestorePointAccessEnded } from './access.events.js';

/** The actor that reads, and its address. */
export interface AccessReader {
  readonly actor: string;
  readonly correlationId: string;
  readonly sourceAddress: string | null;
}

export type AccessToRecord = Omit<RestorePointAccessed['data'], 'access_id' | 'source_address' | 'accessed_at'>;

/**
 * Records that content of a restore point is about to be sent. The result is the id of the access. If this fails, the request must fail too.
 * A look at the same place by the same reader is recorded at most once a minute; downloads are always recorded.
 * @throws EventStoreUnavailableError
 */
export class RecordAccess extends Command<string> {
  constructor(
    readonly access: AccessToRecord,
    readonly reader: AccessReader,
  ) {
    super();
  }
}

/** Records how a download ended. Never fails, because the content has already been sent. */
export class RecordAccessEnd extends Command<void> {
  constructor(
    readonly backupId: string,
    readonly end: Omit<RestorePointAccessEnded['data'], 'ended_at'>,
    readonly reader: AccessReader,
  ) {
    super();
  }
}
