import type { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import type { LockSummary } from './lock-summary.plan.js';
import type { ImmutabilityMode } from './repository.events.js';
import type { CapacityResponse } from './capacity.response.js';
import { localLocation, type RepositoryCapabilities, type RepositoryFacts, type RepositoryLocation, type RepositoryType } from './repository.events.js';

/** What a test of the repository's file system found. */
export class RepositoryCapabilitiesDto {
  /** As in the mount table @example "nfs4" */ readonly filesystem!: string;
  /** For a share, the version of its protocol @example "4.2" */ readonly protocol_version!: string | null;
  /** Unwritten parts of a file take no space @example true */ readonly holes!: boolean;
  /** @example true */ readonly hard_links!: boolean;
  /** Programs of QEMU can lock images @example true */ readonly image_locks!: boolean;
  /** A file is shown as read-only after its write permission is removed @example true */ readonly read_only_mode!: boolean;
  /** Files belong to the account of the hub; false if the server maps it to another @example true */ readonly owner_kept!: boolean;
  /** The server's clock minus that of the hub, in milliseconds @example 12 */ readonly clock_skew_ms!: number;
  /** Of a file of a few MiB, including the time to reach stable storage @example 104857600 */ readonly write_bytes_per_second!: number;
  /** Of the same file, past the hub's own cache where the kernel permits it @example 209715200 */ readonly read_bytes_per_second!: number;
}

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
export class RepositoryFactsDto {
  /** @format uuid @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e02" */ readonly repository_id!: string;
  /** @example "main" */ readonly name!: string;
  readonly type!: RepositoryType;
  /** Where the hub reaches its files; for a share, its mount point @example "/srv/backups" */ readonly path!: string;
  /** `local`: whether the path must be a mount point; always true for a share @example false */ readonly require_mount!: boolean;
  /** `nfs` and `cifs`: name or address @example "nas.example.org" */ readonly server!: string | null;
  /** `nfs`: path at the server @example "/export/backups" */ readonly export!: string | null;
  /** `cifs`: name of the share @example "backups" */ readonly share!: string | null;
  /** `nfs` and `cifs`: mount options @example [] */ readonly options!: readonly string[];
  /** `cifs`: name of the file with the account, in the credentials folder of the mount helper @example "nas" */ readonly credentials!: string | null;
  /** null: not measured yet */ readonly capabilities!: RepositoryCapabilitiesDto | null;
  /** @format date-time @example "2026-11-21T10:30:00.000Z" */ readonly created_at!: string;
}

export class CreatedRepositoryDto extends RepositoryFactsDto {
  /** For ?after= @example "0000000000000000042" */ readonly position!: string | null;
}

export class RepositoryResponse extends RepositoryFactsDto {
  /** null: not measured yet */ readonly capacity!: CapacityResponse | null;
  readonly immutability!: ImmutabilityResponse;
  /** Position of the last event this answer knows; opaque @example "0000000000000000042" */ readonly position!: string;
}

export function toRepositoryFacts(
  repository: RepositoryFacts,
  capabilities: RepositoryCapabilities | null,
): Pick<RepositoryFactsDto, keyof RepositoryFactsDto> {
  const { repository_id, name, location, created_at } = repository;
  const { type, path } = location;
  return {
    repository_id,
    name,
    type,
    path,
    require_mount: location.type === 'local' ? location.require_mount : true,
    server: location.type === 'local' ? null : location.server,
    export: location.type === 'nfs' ? location.export : null,
    share: location.type === 'cifs' ? location.share : null,
    options: location.type === 'local' ? [] : location.options,
    credentials: location.type === 'cifs' ? location.credentials : null,
    capabilities,
    created_at,
  };
}

export function locationOf(repository: RepositoryReadModel): RepositoryLocation {
  return repository.location ?? localLocation(repository.path);
}

export function toRepositoryResponse(repository: RepositoryReadModel, capacity: CapacityResponse | null): RepositoryResponse {
  const { repository_id, name, capabilities, created_at, position } = repository;
  const facts = { repository_id, name, location: locationOf(repository), created_at: created_at.toISOString() };
  const immutability = { mode: repository.immutability_mode ?? 'none', days: repository.immutability_days ?? 0 };
  return { ...toRepositoryFacts(facts, capabilities), capacity, immutability, position };
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
