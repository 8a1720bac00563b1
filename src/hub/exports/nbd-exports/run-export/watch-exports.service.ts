import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { DataSource, In } from 'typeorm';
import { retry } from '../../../../lib/concurrency/retry.js';
import { NbdExportReadModel } from '../../../../../projections/nbd-exports/nbd-exports.read-model.js';
import { HubConfig } from '../../../hub.config.js';
import { foldersIn } from '../../../../lib/files/if-there.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { exportsWithAccess } from '../../nbd-servers/export-access.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { exportsDirectory } from '../model/export-directories.plan.js';
import { ExportRunner } from './export-runner.service.js';

const READ_MODEL = 'nbd_exports';
const RETRY_MS = 500;

/** Reconciles every export left by an earlier run when the hub starts. After that, the runner watches the exports it starts. */
@Injectable()
export class WatchExportsService implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly log = loggerFor('WatchExportsService');
  private readonly shutdown = new AbortController();
  private adoption: Promise<void> = Promise.resolve();

  constructor(
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly exports: ExportRunner,
    private readonly config: HubConfig,
  ) {}

  /** Does not block the start: the read models it waits for may start later. */
  onApplicationBootstrap(): void {
    this.adoption = this.adopt();
  }

  onApplicationShutdown(): void {
    this.shutdown.abort();
  }

  /** Resolves once every export of earlier runs is reconciled, or the hub shuts down. */
  adopted(): Promise<void> {
    return this.adoption;
  }

  private async adopt(): Promise<void> {
    const reconcile = async (): Promise<void> => {
      const ids = await this.leftBehind();
      await Promise.all(
        ids.map(async (exportId) => {
          const done = await this.exports.reconcile(exportId);
          this.log.info('export of an earlier run reconciled', { export_id: exportId, done });
        }),
      );
    };
    const onFailure = (error: unknown): void => this.log.warn('exports of an earlier run could not be reconciled, retrying', { error });
    // Rejects only at shutdown.
    await retry(reconcile, { signal: this.shutdown.signal, firstMs: RETRY_MS, onFailure }).catch(() => undefined);
  }

  /** Exports that may run according to the events, and those with a run directory, a key or a socket: any of these may be the only trace of an export. */
  private async leftBehind(): Promise<readonly string[]> {
    const { runDirectory } = this.config;
    return [...new Set([...(await this.recorded()), ...(await foldersIn(exportsDirectory(runDirectory))), ...(await exportsWithAccess(runDirectory))])];
  }

  private async recorded(): Promise<readonly string[]> {
    await this.readModels.current(READ_MODEL);
    const rows = await this.dataSource.getRepository(NbdExportReadModel).find({ select: { export_id: true }, where: { state: In(['starting', 'running']) } });
    return rows.map((row) => row.export_id);
  }
}
