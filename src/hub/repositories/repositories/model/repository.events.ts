import type { DomainEvent } from '../../../../kernel/event.js';

export type RepositoryType = 'local' | 'nfs' | 'cifs';

/** A share that the mount helper mounts. Options are words of the allow list in `share-options.plan.ts`. */
export type NfsShare = {
  readonly type: 'nfs';
  /** Name or address. */
  readonly server: string;
  /** Absolute path at the server. */
  readonly export: string;
  readonly options: readonly string[];
};
export type CifsShare = {
  readonly type: 'cifs';
  readonly server: string;
  readonly share: string;
  readonly options: readonly string[];
  /** Name of a file in the credentials folder of the mount helper; null: without an account. */
  readonly credentials: string | null;
};

/** Where the files of a repository are. `path`: the absolute path under which the hub reaches them; for a share, its mount point. */
export type RepositoryLocation =
  | {
      readonly type: 'local';
      readonly path: string;
      /** Whether `path` must be a mount point. */
      readonly require_mount: boolean;
    }
  | (NfsShare & { readonly path: string })
  | (CifsShare & { readonly path: string });

/** A location as requested: where a share will be mounted is not known yet. */
export type RequestedLocation = { readonly type: 'local'; readonly path: string; readonly require_mount: boolean } | NfsShare | CifsShare;

export type RepositoryFacts = {
  readonly repository_id: string;
  readonly name: string;
  readonly location: RepositoryLocation;
  readonly created_at: string;
};

/** What a test of the repository's file system found. */
export type RepositoryCapabilities = {
  /** As in the mount table, for example `nfs4`. */
  readonly filesystem: string;
  /** For a share, the version of its protocol, for example `4.2`. */
  readonly protocol_version: string | null;
  /** Unwritten parts of a file take no space. */
  readonly holes: boolean;
  readonly hard_links: boolean;
  /** Programs of QEMU can lock images. */
  readonly image_locks: boolean;
  /** A file is shown as read-only after its write permission is removed. */
  readonly read_only_mode: boolean;
  /** Files belong to the account of the hub; false if the server maps it to another. */
  readonly owner_kept: boolean;
  /** The server's clock minus that of the hub, in milliseconds. */
  readonly clock_skew_ms: number;
  readonly write_bytes_per_second: number;
  readonly read_bytes_per_second: number;
};

/** The shape of releases without shares. */
export type RepositoryCreated = DomainEvent<
  'RepositoryCreated',
  { readonly repository_id: string; readonly name: string; readonly type: 'local'; readonly path: string; readonly created_at: string }
>;
export type RepositoryCreatedV2 = DomainEvent<'RepositoryCreatedV2', RepositoryFacts>;
export type RepositoryDeleted = DomainEvent<'RepositoryDeleted', { readonly deleted_at: string }>;

/** A repository of another hub was imported, with the id in its marker. */
export type RepositoryImported = DomainEvent<
  'RepositoryImported',
  {
    readonly repository_id: string;
    readonly name: string;
    readonly type: 'local';
    readonly path: string;
    /** As stated in its marker. */
    readonly created_at: string;
    readonly imported_at: string;
  }
>;

/** Who keeps a lock: nobody; the hub, which refuses to remove the restore point; or the keeper too, which makes its files immutable. */
export type ImmutabilityMode = 'none' | 'advisory' | 'enforced';

/** How long restore points are locked from their sealing on. */
export type Immutability = {
  readonly mode: ImmutabilityMode;
  /** 0 if and only if the mode is `none`. */
  readonly days: number;
};

/** Applies to restore points that are sealed from then on. Locks that exist stay as they are. */
export type RepositoryImmutabilitySet = DomainEvent<'RepositoryImmutabilitySet', Immutability & { readonly set_at: string }>;

/** The same repository, by its marker, is now at another place. */
export type RepositoryMoved = DomainEvent<'RepositoryMoved', { readonly location: RepositoryLocation; readonly moved_at: string }>;

export type RepositoryCapabilitiesMeasured = DomainEvent<
  'RepositoryCapabilitiesMeasured',
  { readonly capabilities: RepositoryCapabilities; readonly measured_at: string }
>;

/** Stream `repository-<repository_id>`. */
export type RepositoryEvent =
  RepositoryCreatedV2 | RepositoryImported | RepositoryMoved | RepositoryCapabilitiesMeasured | RepositoryImmutabilitySet | RepositoryDeleted;

/** Every event that such a stream may hold, from any release. */
export type StoredRepositoryEvent = RepositoryEvent | RepositoryCreated;

export function upcastRepositoryEvent(stored: StoredRepositoryEvent): RepositoryEvent {
  if (stored.type !== 'RepositoryCreated') return stored;
  const { repository_id, name, path, created_at } = stored.data;
  return { type: 'RepositoryCreatedV2', data: { repository_id, name, location: localLocation(path), created_at } };
}

/** A folder that need not be a mount point. */
export function localLocation(path: string): RepositoryLocation {
  return { type: 'local', path, require_mount: false };
}

export function repositoryStream(repositoryId: string): string {
  return `repository-${repositoryId}`;
}
