export class StandbyHubDto {
  /** @example "hub-b.example.org" */ host!: string;

  /** Base URL of its API, on its own machine @example "http://127.0.0.1:9080" */ url!: string;

  /** @example "1.4.0" */ version!: string;
}

/** Without what a hub tells only the other one. */
export function hubOf(hub: StandbyHubDto | null | undefined): StandbyHubDto | null {
  return hub === null || hub === undefined ? null : { host: hub.host, url: hub.url, version: hub.version };
}

export class HubRoleDto {
  role!: 'active' | 'standby';

  /** Number of the active hub's time as such; it grows with each hub that becomes active @example 7 */ term!: number | null;

  /** Start of the term @example "2026-11-21T10:30:00.000Z" */ since!: string | null;

  /** The active hub; null while this hub has not found one */ active!: StandbyHubDto | null;

  /** The hub that waits to take over */ standby!: StandbyHubDto | null;

  /** Where this hub keeps its events */ event_store!: 'postgres' | 'eventstoredb';

  /** How long ago the active hub renewed its lease @example 1.2 */ renewed_seconds_ago!: number | null;

  /** Why the standby that answers could not take over @example [] */ problems!: readonly string[];
}
