import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { DomainError } from '../../../kernel/domain-error.js';

export interface HubLockLog {
  log(message: string): void;
  warn(message: string): void;
}

const LOCK_KEYS = [7310614, 2] as const;
const RETRY_MS = 250;
/** How long the server may take to end a session of this hub whose connection loss it has not noticed yet. */
const LINGERING_MS = 3_000;
/** Ends sessions of this hub that still hold the lock because the server has not noticed that their connection is lost. */
const END_OWN_SESSION = `select pg_terminate_backend(session.pid) from pg_locks held join pg_stat_activity session on session.pid = held.pid
  where held.locktype = 'advisory' and held.granted and held.classid = $1 and held.objid = $2
    and session.application_name = $3 and session.pid <> pg_backend_pid()`;
const CONNECT_TIMEOUT_MS = 5_000;

/** Held by the only hub that works in a database: a session advisory lock, which always ends with the process. */
export class HubLock {
  private client: pg.Client | undefined;
  private released = false;
  private timer: NodeJS.Timeout | undefined;

  private constructor(
    private readonly databaseUrl: string,
    private readonly applicationName: string,
    private readonly log: HubLockLog,
    private readonly onLost: () => void,
  ) {}

  /**
   * @param onLost called once if another hub took the lock after this connection was lost
   * @throws DomainError `hub_already_running` when another hub works in this database; errors of `pg` when the database cannot be reached
   */
  static async acquire(databaseUrl: string, log: HubLockLog, onLost: () => void = () => undefined): Promise<HubLock> {
    const lock = new HubLock(databaseUrl, `sendense-hub-lock-${randomUUID().slice(0, 8)}`, log, onLost);
    if (!(await lock.tryOnce())) {
      throw new DomainError('conflict', 'hub_already_running', 'another hub is using this database; stop it first, or give this hub its own database');
    }
    return lock;
  }

  async release(): Promise<void> {
    this.released = true;
    clearTimeout(this.timer);
    await this.client?.end().catch(() => undefined);
    this.client = undefined;
  }

  private async tryOnce(): Promise<boolean> {
    const client = new pg.Client({
      connectionString: this.databaseUrl,
      application_name: this.applicationName,
      keepAlive: true,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: CONNECT_TIMEOUT_MS,
    });
    let locked = false;
    let gone = false;
    const onGone = (): void => {
      if (gone) return;
      gone = true;
      if (locked && !this.released) this.reacquire();
    };
    client.on('error', onGone);
    client.on('end', onGone);
    try {
      await client.connect();
      const { rows } = await client.query<{ locked: boolean }>('select pg_try_advisory_lock($1, $2) as locked', [...LOCK_KEYS]);
      locked = rows[0]?.locked === true;
      if (!locked) await client.query(END_OWN_SESSION, [...LOCK_KEYS, this.applicationName]);
    } finally {
      if (!locked) await client.end().catch(() => undefined);
    }
    if (locked) this.client = client;
    return locked;
  }

  private reacquire(): void {
    this.log.warn('lost the connection that holds the hub lock; taking the lock again');
    this.client = undefined;
    let heldSince: number | undefined;
    const attempt = async (): Promise<void> => {
      try {
        if (await this.tryOnce()) {
          if (this.released) await this.client?.end().catch(() => undefined);
          else this.log.log('the hub lock is held again');
          return;
        }
        heldSince ??= performance.now();
        if (performance.now() - heldSince > LINGERING_MS) {
          this.log.warn('another hub has taken the hub lock');
          this.onLost();
          return;
        }
      } catch {
        // The server is down, so nobody holds the lock. Retried without limit.
        heldSince = undefined;
      }
      if (!this.released) this.timer = setTimeout(() => void attempt(), RETRY_MS);
    };
    void attempt();
  }
}
