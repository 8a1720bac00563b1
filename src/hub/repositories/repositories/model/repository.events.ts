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

/** Stream `repository-<repository_id>`. */
export type RepositoryEvent = RepositoryCreated | RepositoryImported | RepositoryDeleted;

export function repositoryStream(repositoryId: string): string {
  return `repository-${repositoryId}`;
}
