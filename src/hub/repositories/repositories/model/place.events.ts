import type { DomainEvent } from '../../../../kernel/event.js';

export const MEDIA = ['local_disk', 'network_share', 'removable_disk', 'object_storage', 'tape'] as const;
export type Medium = (typeof MEDIA)[number];

/** Where a repository is, as an administrator states it: the hub cannot see it. */
export type RepositoryPlaceSet = DomainEvent<
  'RepositoryPlaceSet',
  {
    readonly repository_id: string;
    /** Name of the building, or of whatever may be lost as a whole. */
    readonly site: string;
    /** Whether it survives the loss of the site where the VMs run. */
    readonly off_site: boolean;
    readonly medium: Medium;
    readonly set_at: string;
  }
>;

/** Stream `place-<repository_id>`. */
export type PlaceEvent = RepositoryPlaceSet;

export function placeStream(repositoryId: string): string {
  return `place-${repositoryId}`;
}
