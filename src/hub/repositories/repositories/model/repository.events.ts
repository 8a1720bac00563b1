import type { DomainEvent } from '../../../../kernel/event.js';

export type RepositoryType = 'local';

export type RepositoryCreated = DomainEvent<
  'RepositoryCreated',
  { readonly repository_id: string; readonly name: string; readonly type: RepositoryType; readonly path: string; readonly created_at: string }
>;
export type RepositoryDeleted = DomainEvent<'RepositoryDeleted', { readonly deleted_at: string }>;

/** A repository of another hub was imported, with the id in its marker. */
export type RepositoryImported = DomainEvent<
  'RepositoryImported',
  {
    readonly repository_id: string;
    readonly name: string;
    readonly type: RepositoryType;
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

/** Stream `repository-<repository_id>`. */
export type RepositoryEvent = RepositoryCreated | RepositoryImported | RepositoryImmutabilitySet | RepositoryDeleted;

export function repositoryStream(repositoryId: string): string {
  return `repository-${repositoryId}`;
}
