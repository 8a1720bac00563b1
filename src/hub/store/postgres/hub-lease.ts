import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { DomainError } from '../../../kernel/domain-error.js';
import { messageOf } from '../../../kernel/error-message.js';
import { EventStoreUnavailableError, TermOverError } from '../event-store/event-store.port.js';

export interface HubLeaseLog {
  log(message: string): void;
  warn(message: string): void;
}

/** A hub as it describes itself to the other one. Stored in the database, so it holds no secrets. */
export interface LeaseHub {
  readonly host: string;
  /** Base URL of its API. */
  readonly url: string;
  readonly version: string;
  /** Where nodes reach its tunnel server; null: it has none. */
  readonly tunnel: { readonly host: string; readonly port: number } | null;
  /** Digests of what two hubs of a pair must have in common, by name; see shared-directory.service.ts. */
  readonly identity: Readonly<Record<string, string>>;
  /** Of a standby: why it could not take over. */
  readonly problems?: readonly string[];
}

/** A program that works in the database without being a hub that others look for. */
export const NO_HUB: LeaseHub = { host: '', url: '', version: '', tunnel: null, identity: {} };

/** The lease as the database holds it. */
export interface LeaseView {
  readonly term: number;
  /** null: no hub of this version has held it yet. */
  readonly holder: LeaseHub | null;
  /** ISO 8601, by the database's clock. */
  readonly takenAt: string;
  readonly renewedMsAgo: number;
  /** The hub that waits; null: none has reported for LEASE_MS. */
  readonly standby: LeaseHub | null;
}

export interface HubLeaseOptions {
  readonly databaseUrl: string;
  readonly hub: LeaseHub;
  readonly log: HubLeaseLog;
  /** Called right before the lease is taken, with the term that this hub will have. */
  readonly onTaking?: (term: number) => void;
  /** Called once when another hub has taken over: this process must stop. */
  readonly onLost?: (reason: string) => void;
}

/** A lease that was not renewed for this long, by the database's clock, is taken from its holder. */
export const LEASE_MS = 8_000;
const RENEW_MS = 2_000;
/** The holder acts on a lease that it renewed within this time, by its own monotonic clock; less than LEASE_MS, for what is under way. */
const FRESH_MS = 5_000;
const POLL_MS = 500;
/** After a restart of the server, its former holder connects first. */
const SETTLE_MS = 1_500;
const RETRY_MS = 250;
/** How long the server may take to end a session of this hub whose connection loss it has not noticed yet. */
const LINGERING_MS = 3_000;
const CONNECT_TIMEOUT_MS = 5_000;

const LOCK_KEYS = [7310614, 2] as const;
const HOLDING = `pg_locks held join pg_stat_activity session on session.pid = held.pid
  where held.locktype = 'advisory' and held.granted and held.classid = $1 and held.objid = $2
    and held.database = (select oid from pg_database where datname = current_database()) and session.pid <> pg_backend_pid()`;
/** Ends sessions of this hub that still hold the lock because the server has not noticed that their connection is lost. */
const END_OWN_SESSION = `select pg_terminate_backend(session.pid) from ${HOLDING} and session.application_name = $3`;
const END_HOLDER = `select pg_terminate_backend(session.pid) from ${HOLDING}`;
/** What the replaced hub has open, so that none of its transactions commits any more. */
const END_SESSIONS_OF_HUB = `select pg_terminate_backend(pid) from pg_stat_activity
  where application_name = 'sendense' and usename = current_user and datname = current_database()`;
const VIEW = `select term::int, case when holder ? 'host' then holder end as holder, to_char(taken_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "takenAt",
    extract(epoch from clock_timestamp() - renewed_at)::float8 * 1000 as "renewedMsAgo",
    case when standby_at > clock_timestamp() - $1 * interval '1 millisecond' then standby end as standby
  from event_store.lease`;
/** The store was not migrated yet, or its functions were not granted yet: undefined function, schema or table, insufficient privilege. */
const NOT_READY = new Set(['42883', '3F000', '42P01', '42501']);

/**
 * What makes a hub the only active one of its database. A session advisory lock ends with its process, however that ends; a term in the database, raised by
 * every hub that takes over, is checked by each append. A holder that is frozen or cut off loses both after LEASE_MS if a standby waits.
 */
export class HubLease {
  private client: pg.Client | undefined;
  /** The connection of a standby, which becomes the one above. */
  private looking: pg.Client | undefined;
  private isWaiting = false;
  private takenTerm: number | null = null;
  private renewedAt = Number.NEGATIVE_INFINITY;
  private renewing: Promise<void> | null = null;
  private overBecause: string | null = null;
  private released = false;
  private timer: NodeJS.Timeout | undefined;
  private renewal: NodeJS.Timeout | undefined;

  private constructor(
    private readonly options: HubLeaseOptions,
    private readonly applicationName = `sendense-hub-lock-${randomUUID().slice(0, 8)}`,
  ) {}

  /** @throws DomainError `hub_already_running` when another hub works in this database; errors of `pg` when the database cannot be reached */
  static async acquire(options: HubLeaseOptions): Promise<HubLease> {
    const lease = new HubLease(options);
    const client = await lease.connect();
    if (!(await lease.lockWith(client))) {
      throw new DomainError(
        'conflict',
        'hub_already_running',
        'another hub is using this database; stop it first, give this hub its own database, or start it with --standby',
      );
    }
    await lease.take();
    return lease;
  }

  /**
   * Waits until the active hub dies, stops, or does not renew its lease for LEASE_MS, then takes the lease. Waits for an unavailable database.
   * @param waiting.isFit whether this hub could do the work of the active one: it does not take the lease otherwise
   * @param waiting.onLook called with each look at the lease; @returns why this hub could not take over, null: not known yet
   * @throws the signal's reason
   */
  static async standBy(
    options: HubLeaseOptions,
    signal: AbortSignal,
    waiting: { readonly isFit: (view: LeaseView) => Promise<boolean>; readonly onLook: (view: LeaseView | null) => readonly string[] | null },
  ): Promise<HubLease> {
    const lease = new HubLease(options);
    lease.isWaiting = true;
    try {
      for (let problem: string | null = null; ;) {
        signal.throwIfAborted();
        try {
          let { looking: client } = lease;
          if (client === undefined) {
            client = lease.looking = await lease.connect();
            await pause(SETTLE_MS, undefined, { signal });
          }
          const locked = await lease.lockWith(client, { keep: true });
          const view = await lease.lookWith(client);
          const problems = waiting.onLook(view);
          if (locked && (view === null || (await waiting.isFit(view)))) {
            await client.query(END_SESSIONS_OF_HUB);
            await lease.take();
            lease.isWaiting = false;
            return lease;
          }
          if (locked) throw new Error('this hub could take the lease, but cannot do the work of the active one');
          if (view !== null && problems !== null) await client.query('select event_store.announce_standby($1)', [{ ...options.hub, problems }]);
          if (view !== null && view.renewedMsAgo > LEASE_MS) {
            options.log.warn(`the active hub has not renewed its lease for ${Math.round(view.renewedMsAgo / 1000)} s; taking over from it`);
            await client.query(END_HOLDER, [...LOCK_KEYS]);
            continue;
          }
          problem = null;
        } catch (error) {
          signal.throwIfAborted();
          const text = messageOf(error);
          if (text !== problem) options.log.warn(`this standby cannot read or take the lease; trying again: ${text}`);
          problem = text;
          lease.stopLooking();
        }
        await pause(POLL_MS, undefined, { signal });
      }
    } catch (error) {
      lease.stopLooking();
      signal.throwIfAborted();
      throw error;
    }
  }

  /** The number of this hub's time as the active one; null until the store has been migrated. */
  get term(): number | null {
    return this.takenTerm;
  }

  /** Raises the term, once the store can hold one. Does nothing if that was done before. */
  async begin(): Promise<void> {
    if (this.takenTerm === null) await this.take();
    if (this.takenTerm === null)
      throw new Error('the lease cannot be taken although migrations have run; the owner of the event store must grant its functions');
  }

  /** Whether the lease was renewed recently enough to act on it. */
  isFresh(): boolean {
    return this.overBecause === null && (this.takenTerm === null || performance.now() - this.renewedAt < FRESH_MS);
  }

  /**
   * Resolves if this hub may act: it renewed its lease a short time ago, or does so now.
   * @throws TermOverError when another hub has taken over; EventStoreUnavailableError when that cannot be found out
   */
  async confirm(): Promise<void> {
    this.throwIfOver();
    if (this.isFresh()) return;
    await this.renew().catch(() => undefined);
    this.throwIfOver();
    if (!this.isFresh()) throw new EventStoreUnavailableError('the lease of this hub cannot be renewed at the moment');
  }

  /** Called when the store has refused this hub's term. */
  end(reason: string): void {
    if (this.overBecause !== null || this.released) return;
    this.overBecause = reason;
    this.stopTimers();
    this.options.onLost?.(reason);
  }

  async view(): Promise<LeaseView | null> {
    if (this.client === undefined) throw new EventStoreUnavailableError('the lease of this hub cannot be read at the moment');
    return this.lookWith(this.client);
  }

  async release(): Promise<void> {
    this.released = true;
    this.stopTimers();
    await this.client?.end().catch(() => undefined);
    this.client = undefined;
  }

  private throwIfOver(): void {
    if (this.overBecause !== null) throw new TermOverError(this.overBecause);
  }

  private stopLooking(): void {
    void this.looking?.end().catch(() => undefined);
    this.client = this.looking = undefined;
  }

  private stopTimers(): void {
    clearTimeout(this.timer);
    clearInterval(this.renewal);
  }

  private async connect(): Promise<pg.Client> {
    const client = new pg.Client({
      connectionString: this.options.databaseUrl,
      application_name: this.applicationName,
      keepAlive: true,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: CONNECT_TIMEOUT_MS,
    });
    const gone = (): void => this.onGone(client);
    client.on('error', gone);
    client.on('end', gone);
    await client.connect();
    return client;
  }

  /** Ends the client if the lock is not free, unless it is kept for another attempt. */
  private async lockWith(client: pg.Client, { keep = false } = {}): Promise<boolean> {
    let locked = false;
    try {
      const { rows } = await client.query<{ locked: boolean }>('select pg_try_advisory_lock($1, $2) as locked', [...LOCK_KEYS]);
      locked = rows[0]?.locked === true;
      if (locked) this.client = client;
      else if (!keep) await client.query(END_OWN_SESSION, [...LOCK_KEYS, this.applicationName]);
    } finally {
      if (!locked && !keep) await client.end().catch(() => undefined);
    }
    return locked;
  }

  private async lookWith(client: pg.Client): Promise<LeaseView | null> {
    try {
      const { rows } = await client.query<LeaseView>(VIEW, [LEASE_MS]);
      return rows[0] ?? null;
    } catch (error) {
      if (isNotReady(error)) return null;
      throw error;
    }
  }

  private async take(): Promise<void> {
    const { client } = this;
    const view = client === undefined ? null : await this.lookWith(client);
    if (client === undefined || view === null) return;
    this.options.onTaking?.(view.term + 1);
    const at = performance.now();
    try {
      const { rows } = await client.query<{ term: number }>('select event_store.take_lease($1)::int as term', [this.options.hub]);
      this.takenTerm = rows[0]?.term ?? null;
    } catch (error) {
      if (isNotReady(error)) return;
      throw error;
    }
    this.renewedAt = at;
    this.renewal = setInterval(() => void this.renew().catch(() => undefined), RENEW_MS);
  }

  /** One renewal at a time. @throws errors of `pg`; the connection is then replaced */
  private renew(): Promise<void> {
    this.renewing ??= this.renewNow().finally(() => {
      this.renewing = null;
    });
    return this.renewing;
  }

  private async renewNow(): Promise<void> {
    const { client } = this;
    if (client === undefined || this.takenTerm === null) return;
    const at = performance.now();
    try {
      const { rows } = await client.query<{ renewed: boolean }>('select event_store.renew_lease($1) as renewed', [this.takenTerm]);
      if (rows[0]?.renewed === true) this.renewedAt = at;
      else this.end(`another hub has taken over, so term ${this.takenTerm} of this hub is over`);
    } catch (error) {
      this.onGone(client);
      void client.end().catch(() => undefined);
      throw error;
    }
  }

  private onGone(client: pg.Client): void {
    if (this.client !== client) return;
    this.client = undefined;
    if (!this.released && !this.isWaiting && this.overBecause === null) this.reacquire();
  }

  private reacquire(): void {
    this.options.log.warn('lost the connection that holds the hub lock; taking the lock again');
    let heldSince: number | undefined;
    const attempt = async (): Promise<void> => {
      try {
        const client = await this.connect();
        if (await this.lockWith(client)) {
          if (this.released) {
            await client.end();
            return;
          }
          // A failure ends this connection too, and starts over.
          await this.renewNow().catch(() => undefined);
          if (this.overBecause === null && this.client === client) this.options.log.log('the hub lock is held again');
          return;
        }
        heldSince ??= performance.now();
        if (performance.now() - heldSince > LINGERING_MS) {
          this.end('another hub has taken the hub lock');
          return;
        }
      } catch {
        // The server is down, so nobody holds the lock. Retried without limit.
        heldSince = undefined;
      }
      if (!this.released && this.client === undefined) this.timer = setTimeout(() => void attempt(), RETRY_MS);
    };
    void attempt();
  }
}

function isNotReady(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code !== undefined && NOT_READY.has(error.code);
}
