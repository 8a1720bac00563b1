import pg from 'pg';

/**
 * How long a database that hangs is waited for, in milliseconds. The server gives up waiting for a lock, and a statement; should it say nothing at all (it is stopped, or the
 * network swallows what it says), the client gives up by itself. All three count as "not just now" (`isConnectionError`). Every statement of ours takes a fraction of a second:
 * what is long, a rebuild of a read model, is done in many.
 */
export const QUERY_BOUNDS = { lock_timeout: 5_000, statement_timeout: 10_000, query_timeout: 12_000 } as const;

const SILENT = 'Query read timeout';

/**
 * A connection that is closed when the server did not answer in time. node-postgres alone would use it again: with the answer still to come, and perhaps within a transaction
 * that nobody has ended.
 */
export class BoundedClient extends pg.Client {
  constructor(config?: string | pg.ClientConfig) {
    super(config);
    const query: (...args: unknown[]) => unknown = this.query.bind(this);
    const bounded = (...args: unknown[]): unknown => {
      const answer = query(...args);
      // With a callback there is no promise, and the pool, which is the one that does so, closes the connection of any query that failed.
      if (answer instanceof Promise) {
        answer.catch((error: unknown) => {
          if (error instanceof Error && error.message === SILENT) void this.end().catch(() => undefined);
        });
      }
      return answer;
    };
    // As overloaded as the method that it passes everything on to, which cannot be told to the compiler.
    this.query = bounded as typeof this.query;
  }
}
