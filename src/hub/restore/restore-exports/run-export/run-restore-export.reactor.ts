import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import type { Subscription } from 'rxjs';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { recordedAt, repositoryOf, sourcesOf } from '../../../backup/backups/model/restore-points.reader.js';
import { RestoreExportReadModel } from '../../../../../projections/restore-exports/restore-exports.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { RequestExport, StopExport } from '../../../exports/nbd-exports/model/nbd-export.commands.js';
import { nbdExportStream } from '../../../exports/nbd-exports/model/nbd-export.events.js';
import { AllocatePorts, ReleaseJobPorts } from '../../../exports/nbd-ports/model/nbd-port.commands.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { Reconciler, type StepOutcome } from '../../../store/reconciler/reconciler.js';
import { causeOf, isStorageAway } from '../../../store/reconciler/step-failure.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { exportUri } from '../../../../lib/nbd/nbd-uri.js';
import { TcpConnections } from '../../../exports/nbd-servers/tcp-connections.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import type { ImageChain } from '../../../../lib/qemu/image-chain.plan.js';
import { QemuImg } from '../../../../lib/qemu/qemu-img.js';
import { ChainGuard, REQUEST_PATIENCE_MS } from '../../../repositories/repository-storage/chain-guard.js';
import { overlayDirectory } from '../model/restore-export-name.plan.js';
import { RestoreExportRecorder } from '../model/restore-export.recorder.js';
import type { KnownRestoreExport } from '../model/restore-export.state.js';

/** A limit would let clients without the key lock out those that have it. */
const NO_LIMIT = 0;
/** Poll interval for deadlines, in milliseconds. */
const LOOK_MS = 1_000;
const SERVER_ENDED: ReadonlySet<string> = new Set(['NbdExportExited', 'NbdExportStopped', 'NbdExportStartFailed']);

/** Reconciler of restore exports: starts the server, ends the export at its deadline or when its server has exited, and removes its resources. */
@Injectable()
export class RunRestoreExportReactor implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = loggerFor('RunRestoreExport');
  private readonly work = new Reconciler(
    { what: 'export of a restore point', step: (exportId) => this.step(exportId), unfinished: () => this.unfinished() },
    this.log,
  );
  private events: Subscription | null = null;

  constructor(
    private readonly feed: EventFeed,
    private readonly store: EventStore,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly recorder: RestoreExportRecorder,
    private readonly commands: CommandBus,
    private readonly qemuImg: QemuImg,
    private readonly guard: ChainGuard,
    private readonly connections: TcpConnections,
    private readonly config: HubConfig,
    private readonly clock: Clock,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('restoreExport', 'nbdExport').subscribe((event) => {
      const id = event.stream.slice(event.stream.indexOf('-') + 1);
      if (event.type === 'RestoreExportRequested') this.work.poke(id);
      else this.work.wake(id);
    });
    this.work.start(this.feed.ready);
  }

  /** Earliest phase of a shutdown. Servers keep running, and the next hub adopts them. */
  async onModuleDestroy(): Promise<void> {
    this.events?.unsubscribe();
    await this.work.end();
  }

  private async step(exportId: string): Promise<StepOutcome> {
    const { state } = await this.recorder.load(exportId);
    switch (state.status) {
      case 'none':
        return 'done';
      case 'starting':
        await this.start(state);
        return 'progressed';
      case 'running':
        return this.watch(state);
      case 'failed':
      case 'ended':
        if (state.cleaned_up) return 'done';
        await this.cleanUp(exportId);
        return 'progressed';
    }
  }

  /**
   * Any part may already have been done before a crash: ports and server are requested again under the same names, and an overlay that was never served is
   * created again.
   */
  private async start({ request }: KnownRestoreExport): Promise<void> {
    const exportId = request.export_id;
    try {
      // Checked right before the files are opened.
      const chain = await this.chainOf(request);
      const { ports } = await this.commands.execute(new AllocatePorts(exportId, [request.export_name], await this.recorder.context(exportId)));
      const port = ports[0]?.port;
      if (port === undefined) throw new Error(`no port was allocated for export ${exportId}`);
      const outcome = await this.commands.execute(
        new RequestExport(
          {
            exportId,
            jobId: exportId,
            exportName: request.export_name,
            port,
            file: request.mode === 'read_only' ? request.file : await this.overlayOf(request, chain),
            readOnly: request.mode === 'read_only',
            sharedLimit: NO_LIMIT,
            transport: 'tls',
          },
          await this.recorder.context(exportId),
        ),
      );
      if (outcome.status !== 'started') {
        const said = 'stderr' in outcome ? outcome.stderr.trim() : '';
        throw new DomainError(
          'unavailable',
          'export_not_started',
          `its server ${outcome.status === 'start_failed' ? `could not be started (${outcome.code})` : 'ended early'}: ${said}`,
        );
      }
      const uri = exportUri({ host: this.config.nbdAdvertiseHost, port }, request.export_name);
      await this.recorder.record(exportId, { kind: 'started', data: { nbd_port: port, uri, started_at: this.clock.iso() } });
    } catch (error) {
      if (this.work.isStopping() || isStorageAway(error)) throw error;
      await this.recorder.record(exportId, { kind: 'failed', ...causeOf(error), failed_at: this.clock.iso() });
    }
  }

  private async chainOf(request: KnownRestoreExport['request']): Promise<ImageChain> {
    const found = await this.dataSource.getRepository(BackupReadModel).findOneByOrFail({ backup_id: request.backup_id });
    const backup = await recordedAt(this.dataSource, found, request.repository_id ?? found.repository_id);
    const { path } = await repositoryOf(this.dataSource, backup);
    const sources = (await sourcesOf(this.dataSource, backup))(request.disk_index);
    return this.guard.open(path, sources, { allowDamaged: request.allow_damaged === true, patienceMs: REQUEST_PATIENCE_MS, signal: this.work.ending });
  }

  private async overlayOf(request: KnownRestoreExport['request'], chain: ImageChain): Promise<string> {
    const directory = overlayDirectory(this.config.runDirectory, request.export_id);
    const overlay = join(directory, 'overlay.qcow2');
    await mkdir(directory, { recursive: true, mode: 0o700 });
    if (!(await this.isServed(request.export_id))) {
      const file = chain.at(-1) ?? chain[0];
      const { virtual_size } = await this.qemuImg.info(file, { format: 'qcow2' });
      await this.qemuImg.create({ path: overlay, sizeBytes: virtual_size, backing: { file, format: 'qcow2' } });
    }
    return overlay;
  }

  private async isServed(exportId: string): Promise<boolean> {
    for await (const _ of this.store.read(nbdExportStream(exportId), { limit: 1 })) return true;
    return false;
  }

  /** Records an exited server or an expired deadline. */
  private async watch(state: KnownRestoreExport): Promise<StepOutcome> {
    const exportId = state.request.export_id;
    for await (const newest of this.store.read(nbdExportStream(exportId), { direction: 'backwards', limit: 1 })) {
      if (SERVER_ENDED.has(newest.type)) {
        await this.recorder.record(exportId, { kind: 'end', export_id: exportId, reason: 'server_exited', ended_at: this.clock.iso() });
        return 'progressed';
      }
    }
    const now = this.clock.now().getTime();
    if (state.request.held_by === undefined && now >= Date.parse(state.expires_at)) {
      const connected = (await this.connections.establishedByLocalPort()).get(state.nbd_port ?? 0) ?? 0;
      await this.recorder.record(
        exportId,
        connected > 0
          ? { kind: 'extended', expires_at: new Date(now + this.config.restoreExportIdleSeconds * 1000).toISOString() }
          : { kind: 'end', export_id: exportId, reason: 'expired', ended_at: this.clock.iso() },
      );
      return 'progressed';
    }
    return { waitingMs: LOOK_MS };
  }

  /** Stops the server first, so that nothing listens on the released port. */
  private async cleanUp(exportId: string): Promise<void> {
    await this.commands.execute(new StopExport(exportId, await this.recorder.context(exportId)));
    await this.commands.execute(new ReleaseJobPorts(exportId, false, await this.recorder.context(exportId)));
    await rm(overlayDirectory(this.config.runDirectory, exportId), { recursive: true, force: true });
    await this.recorder.record(exportId, { kind: 'cleaned_up', cleaned_up_at: this.clock.iso() });
  }

  private async unfinished(): Promise<readonly string[]> {
    await this.readModels.current('restore_exports');
    return (await this.dataSource.getRepository(RestoreExportReadModel).findBy({ cleaned_up: false })).map(({ export_id }) => export_id);
  }
}
