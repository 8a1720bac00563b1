import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Damaged restore points are counted at each scrape of the metrics, without a walk through all backups. */
export class IndexDamagedBackups1795257000029 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // The driver's rows have no type of their own. Before the first start there is no checkpoint, and the first generation is live.
    const rows = (await runner.query(`select generation from read_models.projection_checkpoints where projection = 'backups' and role = 'live'`)) as {
      readonly generation: number;
    }[];
    await runner.query(`create index on read_models.backups_g${rows[0]?.generation ?? 1} (backup_id) where damage is not null`);
  }

  /** The index stays: an older version has no use for it, and takes no harm from it. */
  async down(): Promise<void> {}
}
