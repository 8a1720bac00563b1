import pg from 'pg';
import { DataSource, type QueryRunner, type ReplicationMode } from 'typeorm';
import type { Position } from '../../../kernel/position.js';
import { currentRequest, type PastInstant, runInRequest } from '../../../lib/http/request-state.js';
import { AS_OF_SCHEMA, type Column, quoted, type ReadModelDefinition, recordsSince } from './read-model-definition.js';

/** Settings of a transaction that sees the read models as of a position. */
const POSITION = 'sendense.as_of';
const FORKS = 'sendense.as_of_forks';

/**
 * A data source whose queries see the read models as of `instant` while a request with one is answered, and their live rows otherwise. The queries are the
 * same: each runs in a read-only transaction whose search path leads to the views of `asOfViewDdl`.
 */
export class AsOfDataSource extends DataSource {
  override createQueryRunner(mode?: ReplicationMode): QueryRunner {
    const runner = super.createQueryRunner(mode);
    const instant = currentRequest()?.instant ?? null;
    return instant === null ? runner : readingAsOf(runner, instant.position);
  }
}

function readingAsOf(runner: QueryRunner, position: Position | null): QueryRunner {
  const connect = runner.connect.bind(runner);
  const release = runner.release.bind(runner);
  let begun: Promise<pg.Client> | null = null;
  const begin = async (): Promise<pg.Client> => {
    // TypeORM leaves the type of the driver's connection open.
    const client = (await connect()) as pg.Client;
    await client.query(beginAsOf(position));
    return client;
  };
  let released: Promise<void> | null = null;
  runner.connect = () => (begun ??= begin());
  runner.release = () => {
    // TypeORM closes its pool by releasing a runner again and again until it is gone: whoever asks a second time waits for it.
    if (released !== null) return released;
    // Readers do not wait for the end of their transaction. A connection that may still look at the past must not return to the pool.
    const ended = begun?.then((client) => client.query('commit').catch(() => client.end())).catch(() => undefined) ?? Promise.resolve();
    released = ended.then(release);
    return Promise.resolve();
  };
  return runner;
}

/** Runs queries of a request as of an instant of their own. @throws Error outside requests */
export function readAsOf<Result>(instant: PastInstant, read: () => Promise<Result>): Promise<Result> {
  const request = currentRequest();
  if (request === null) throw new Error('there is no request to read for');
  return runInRequest({ ...request, instant }, read);
}

/** Begins a transaction in which queries of read models see the rows as of a position; null: before the first event. */
export function beginAsOf(position: Position | null): string {
  const at = position ?? '';
  const forks = Array.from({ length: at.length + 1 }, (_, length) => at.slice(0, length)).join(',');
  return `begin read only; set local search_path = ${AS_OF_SCHEMA};
    select set_config('${POSITION}', ${pg.escapeLiteral(at)}, true), set_config('${FORKS}', ${pg.escapeLiteral(forks)}, true)`;
}

/**
 * The node of a version in an interval tree over positions: what its two ends begin with in common. Every position within the version begins with it too, so
 * the versions at a position are found under the beginnings of that position.
 */
export function forkOf(since: Position, until: Position): string {
  let length = 0;
  while (length < since.length && since[length] === until[length]) length += 1;
  return since.slice(0, length);
}

/**
 * Rows that were valid at the position of the transaction: live ones, and ended versions. Ended ones are selected in a query of their own, whose size PostgreSQL
 * can estimate; otherwise it does not merge the two in the order of an index. A position in a row, such as that of its creation, is never later than the row:
 * the condition lets an index in its order begin there.
 */
export function asOfViewDdl(definition: ReadModelDefinition, live: string, past: string): string {
  const columns = Object.keys(definition.columns).map(quoted).join(', ');
  const at = `current_setting('${POSITION}') collate "C"`;
  const positions = Object.entries<Column>(definition.columns).flatMap(([name, { collation }]) => (collation === 'C' ? [quoted(name)] : []));
  return `select ${columns}, valid_from as position from (
      select ${columns}, ${recordsSince(definition) ? 'valid_from' : 'position as valid_from'} from ${live}
      union all select ${columns}, valid_from from ${past}
        where valid_from <= ${at} and valid_to > ${at} and fork = any(string_to_array(current_setting('${FORKS}'), ','))
    ) version where ${['valid_from', ...positions].map((position) => `${position} <= ${at}`).join(' and ')}`;
}
