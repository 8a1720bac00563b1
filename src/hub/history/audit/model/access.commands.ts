import type { RestorePointAccessed, RestorePointAccessEnded } from './access.events.js';

/** Who reads, and from where. */
export interface AccessReader {
  readonly actor: string;
  readonly correlationId: string;
  readonly sourceAddress: string | null;
}

export type AccessToRecord = Omit<RestorePointAccessed['data'], 'access_id' | 'source_address' | 'accessed_at'>;

/**
 * Record that content of a restore point is about to be sent. The result is the id of the access. An access must not be answered when this fails.
 * The same look at the same place by the same reader is recorded once a minute; downloads are recorded each time.
 * @throws EventStoreUnavailableError
 */
export class RecordAccess {
  constructor(
    readonly access: AccessToRecord,
    readonly reader: AccessReader,
  ) {}
}

/** Record how a download ended. Never fails: the content has been sent by then. */
export class RecordAccessEnd {
  constructor(
    readonly backupId: string,
    readonly end: Omit<RestorePointAccessEnded['data'], 'ended_at'>,
    readonly reader: AccessReader,
  ) {}
}
