import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Lets each scrape of the metrics count damaged restore points without scanning all backups. */
export class IndexDamagedBackups1795257000029 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // The driver does not type its rows. Before the first start there is no checkpoint, and the first generation is live.
    const rows = (await runner.query(`select generation from read_models.projection_checkpoints where projection = 'backups' and role = 'live'`)) as {
      readonly generation: number;
    }[];
    await runner.query(`create index on read_models.backups_g${rows[0]?.generation ?? 1} (backup_id) where damage is not null`);
  }

  /** The index stays: an older version does not use it, but it does no harm. */
  async down(): Promise<void> {}
}
