import pg from 'pg';

/**
 * How long to wait for a hanging database, in milliseconds. The server cancels a wait for a lock, and a statement. If the server is silent (it is
 * stopped, or the network drops its packets), the client gives up on its own. All three count as temporary (`isConnectionError`). Each of our
 * statements takes a fraction of a second; long work, such as a rebuild of a read model, is split into many.
 */
export const QUERY_BOUNDS = { lock_timeout: 5_000, statement_timeout: 10_000, query_timeout: 12_000 } as const;

const SILENT = 'Query read timeout';

/**
 * A connection that is closed when the server did not answer in time. node-postgres alone would reuse it although the answer may still arrive, possibly
 * within an open transaction.
 */
export class BoundedClient extends pg.Client {
  constructor(config?: string | pg.ClientConfig) {
    super(config);
    const query: (...args: unknown[]) => unknown = this.query.bind(this);
    const bounded = (...args: unknown[]): unknown => {
      const answer = query(...args);
      // With a callback there is no promise. Only the pool calls it that way, and it closes the connection of any failed query itself.
      if (answer instanceof Promise) {
        answer.catch((error: unknown) => {
          if (error instanceof Error && error.message === SILENT) void this.end().catch(() => undefined);
        });
      }
      return answer;
    };
    // It has the same overloads as the method that it forwards to, which the compiler cannot infer.
    this.query = bounded as typeof this.query;
  }
}
