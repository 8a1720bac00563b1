import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { DataSource } from 'typeorm';
import { allReadModels } from '../../projections/all-projections.js';
import { BackupReadModel } from '../../projections/backups/backups.read-model.js';
import { type AuditFilter, searchLog } from '../../src/hub/history/audit/audit-log.reader.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';

jest.setTimeout(120_000);

const ROWS = 40_000;

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Actual Rows': number;
  readonly 'Rows Removed by Filter'?: number;
  readonly Plans?: readonly PlanNode[];
}

/** Statements whose cost must not grow with the history, by what PostgreSQL reads for them in read models of many rows. */
describe('with a long history', () => {
  let database: TestDatabase;
  let dataSource: DataSource;

  beforeAll(async () => {
    database = await createTestDatabase();
    dataSource = new DataSource({
      type: 'postgres',
      url: database.databaseUrl,
      entities: [...allReadModels],
      extra: { options: '-c search_path=read_models' },
    });
    await dataSource.initialize();
    await dataSource.query(
      `insert into read_models.audit_events_g1
       select lpad(n::text, 19, '0'), n, 'backup-' || n / 20, 'backup', n % 20, 'T' || n % 4, 'system:run-backup', n / 20, n, 'h', 1,
              timestamptz '2025-01-01' + n * interval '1 second', now(), '{}', lpad(n::text, 19, '0') from generate_series(1, ${ROWS}) n`,
    );
    await dataSource.query(
      `insert into read_models.backups_g1 (backup_id, vm_id, vm_name, node_id, repository_id, backup_type, status, current_phase, chain_id, parent_backup_id,
         progress_percent, bytes_transferred, total_bytes, disks, exports, export_ids, change_tracking, undone, files_removed, created_at, completed_at,
         created_position, left_out_disks, position, valid_from)
       select 'b' || n, 'v' || n % 40, 'vm-' || n % 40, 'n', 'r', case when n % 30 = 0 then 'full' else 'incremental' end, 'completed', 'completed', 'c' || n / 30,
         'b' || n - 1, 100, 1, 1, '[]', '{}', array['e' || n], 'committed', false, false, now(), now(), lpad(n::text, 19, '0'), '[]', lpad(n::text, 19, '0'), lpad(n::text, 19, '0')
       from generate_series(1, ${ROWS}) n`,
    );
    await dataSource.query('vacuum analyze read_models.audit_events_g1');
    await dataSource.query('vacuum analyze read_models.backups_g1');
  });

  afterAll(async () => {
    await dataSource.destroy();
    await database.drop();
  });

  /** Rows that any part of the plan has read, those it threw away included. */
  async function rowsRead(sql: string, parameters: readonly unknown[] = []): Promise<number> {
    const [row] = await dataSource.query<[{ 'QUERY PLAN': [{ Plan: PlanNode }] }]>(`explain (analyze, format json) ${sql}`, [...parameters]);
    const most = (node: PlanNode): number => Math.max(node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0), ...(node.Plans ?? []).map(most));
    return most(row['QUERY PLAN'][0].Plan);
  }

  const early = '2025-01-01T00:10:00.000Z';
  it.each<Partial<AuditFilter>>([
    {},
    { type: 'T3' },
    { type: 'T3', actor: 'api:nobody' },
    { category: 'backup', actor: 'api:nobody' },
    { until: early },
    { since: early, order: 'oldest_first' },
    { until: early, category: 'backup' },
    { stream: 'backup-7' },
  ])('the log is searched by an index for %j', async (filter) => {
    const [sql, parameters] = searchLog(dataSource, { order: 'newest_first', ...filter }, null, 100).getQueryAndParameters();
    expect(await rowsRead(sql, parameters)).toBeLessThan(1_000);
  });

  it.each([
    [`chain_id = 'c70'`],
    [`parent_backup_id = 'b70'`],
    [`vm_id = 'v7' and (status in ('pending', 'running') or (status = 'completed' and change_tracking is null))`],
    [`vm_id = 'v7' and repository_id = 'r' and status = 'completed' order by created_position desc limit 1`],
    [`vm_id = 'v7' and status = 'completed' and damage is null and instant is not null order by least(instant, completed_at) desc limit 1`],
    [`backup_type = 'auto' order by created_position desc limit 101`],
    [
      `status in ('pending', 'running') or (status = 'completed' and change_tracking is null)
        or (status in ('failed', 'cancelled') and (not undone or (nbd_targets_string is not null and change_tracking is null)))
        or (status = 'deleted' and not files_removed) order by created_position`,
    ],
  ])('backups are found by an index where %s', async (condition) => {
    expect(await rowsRead(`select * from read_models.backups where ${condition}`)).toBeLessThan(200);
  });

  it('backups of a chain are those that the entity reads', async () => {
    const [sql, parameters] = dataSource.getRepository(BackupReadModel).createQueryBuilder('b').where({ chain_id: 'c70' }).getQueryAndParameters();
    expect(await rowsRead(sql, parameters)).toBeLessThan(200);
  });
});
