import type { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import type { LockSummary } from './lock-summary.plan.js';
import type { ImmutabilityMode } from './repository.events.js';
import type { CapacityResponse } from './capacity.response.js';

/** How long restore points are locked from their sealing on. */
export class ImmutabilityResponse {
  /** What was set; whether locks are enforced is read back from the files, see `locks` */ readonly mode!: ImmutabilityMode;
  /** 0 with the mode `none` @example 30 */ readonly days!: number;
}

/** The locks of a repository's restore points and copies, as read back from their files by a round of the hub, at least once an hour each. */
export class RepositoryLocksResponse {
  /** `enforced`: the files of all locked ones are immutable. `advisory`: only the hub refuses to remove some of them. `none`: nothing is locked */
  readonly level!: 'none' | 'advisory' | 'enforced';
  /** Restore points and copies that are locked now @example 12 */ readonly locked!: number;
  /** Those of them whose files are all immutable @example 12 */ readonly enforced!: number;
  /** Since when the oldest of the others waits for the keeper; null: none waits, or the mode is not `enforced` @example null */
  readonly unconfirmed_since!: string | null;
  /** Whether one has waited for more than 15 minutes @example false */ readonly keeper_late!: boolean;
  /** @example "2026-11-21T10:30:00.000Z" */ readonly read_at!: string;
}

/** A repository, as shown by every route of the API. */
export class RepositoryResponse {
  /** @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e02" */ readonly repository_id!: string;
  /** @example "main" */ readonly name!: string;
  readonly type!: 'local';
  /** @example "/srv/backups" */ readonly path!: string;
  /** @example "2026-11-21T10:30:00.000Z" */ readonly created_at!: string;
  /** null: not measured yet */ readonly capacity!: CapacityResponse | null;
  readonly immutability!: ImmutabilityResponse;
  /** Position of the last event this answer knows; opaque @example "0000000000000000042" */ readonly position!: string;
}

export function toRepositoryResponse(repository: RepositoryReadModel, capacity: CapacityResponse | null): RepositoryResponse {
  return {
    repository_id: repository.repository_id,
    name: repository.name,
    type: repository.type,
    path: repository.path,
    created_at: repository.created_at.toISOString(),
    capacity,
    immutability: { mode: repository.immutability_mode ?? 'none', days: repository.immutability_days ?? 0 },
    position: repository.position,
  };
}

export class RepositoryWithLocksResponse extends RepositoryResponse {
  /** null: not read yet, because the hub has just started */ readonly locks!: RepositoryLocksResponse | null;
}

export function toLocksResponse(summary: LockSummary | null): RepositoryLocksResponse | null {
  if (summary === null) return null;
  const { locked, enforced, unconfirmed_since, keeper_late, read_at } = summary;
  const level = locked === 0 ? 'none' : enforced === locked ? 'enforced' : 'advisory';
  return { level, locked, enforced, unconfirmed_since, keeper_late, read_at };
}
