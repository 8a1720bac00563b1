import type { LeaseHub, LeaseView } from '../../store/postgres/hub-lease.js';

export class HubHealthDto {
  role!: 'active' | 'standby';
}

export class PairedHubDto {
  /** @example "hub-b.example.org" */ host!: string;

  /** Base URL of its API, on its own machine @example "http://127.0.0.1:9080" */ url!: string;

  /** @example "1.4.0" */ version!: string;
}

export class StandbyHubDto extends PairedHubDto {
  /** Why it could not take over @example [] */ problems!: readonly string[];
}

export class HubRoleDto {
  role!: 'active' | 'standby';

  /** Number of the active hub's time as such; it grows with each hub that becomes active @example 7 */ term!: number | null;

  /** Start of the term @example "2026-11-21T10:30:00.000Z" */ since!: string | null;

  /** The active hub; null while this hub has not found one */ active!: PairedHubDto | null;

  /** The hub that waits to take over */ standby!: StandbyHubDto | null;

  /** Where this hub keeps its events */ event_store!: 'postgres' | 'eventstoredb';

  /** How long ago the active hub renewed its lease @example 1.2 */ renewed_seconds_ago!: number | null;
}

/** The lease as one of the two hubs sees it. */
export function hubRoleOf(role: HubRoleDto['role'], view: LeaseView | null, event_store: HubRoleDto['event_store']): HubRoleDto {
  const { standby = null } = view ?? {};
  return {
    role,
    term: view?.term ?? null,
    since: view?.takenAt ?? null,
    active: pairedHubOf(view?.holder ?? null),
    standby: standby === null ? null : { host: standby.host, url: standby.url, version: standby.version, problems: standby.problems ?? [] },
    event_store,
    renewed_seconds_ago: view === null ? null : Math.round(view.renewedMsAgo / 100) / 10,
  };
}

/** Without what a hub reports only to the other one. */
function pairedHubOf(hub: LeaseHub | null): PairedHubDto | null {
  return hub === null ? null : { host: hub.host, url: hub.url, version: hub.version };
}
