import { setTimeout as pause } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { DataSource } from 'typeorm';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { RestoreExportReadModel } from '../../../../../projections/restore-exports/restore-exports.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { readExportKey } from '../../../exports/nbd-servers/export-access.js';
import type { NodeBootCheckReport, NodeStartBootCheck } from '../../../../contract/boot-check.js';
import { NodeClient } from '../../../nodes/node-link/node-client.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { EndRestoreExport, restoreExportIdName, StartRestoreExport } from '../../../restore/restore-exports/model/restore-export.commands.js';
import { BootArtefacts } from '../model/boot-artefacts.store.js';
import type { BootChecked, BootWanted, VerificationRequested } from '../model/verification.events.js';

type Request = VerificationRequested['data'];

const POLL_MS = 500;
/** Time allowed beyond the guest's own timeout: for its start, a screenshot and its removal. */
const NODE_PATIENCE_MS = 10 * 60_000;
/** Errors after which the node may respond again. */
const SILENT: ReadonlySet<string> = new Set(['node_unreachable', 'node_silent', 'node_broken_answer']);

/** Boots a restore point at a node on throwaway overlays, and cleans up afterwards. Each attempt has its own exports and check, with derived ids. */
@Injectable()
export class BootRestorePoint {
  private readonly log = loggerFor('BootRestorePoint');

  constructor(
    private readonly commands: CommandBus,
    private readonly nodes: NodeClient,
    private readonly files: RepositoryFiles,
    private readonly artefacts: BootArtefacts,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly config: HubConfig,
    private readonly clock: Clock,
  ) {}

  /**
   * Starts the guest, or resumes a check that an earlier hub has started, waits for the verdict and stores the artefacts.
   * @returns null if the check was interrupted because the node restarted or lost its connection to the disks; another attempt may be made
   * @throws DomainError if no verdict can be reached; the signal's reason if aborted
   */
  async boot(
    request: Request,
    wanted: BootWanted,
    attempt: number,
    newContext: () => CommandContext,
    signal: AbortSignal,
  ): Promise<BootChecked['data'] | null> {
    const body = await this.bodyOf(request, wanted, attempt, newContext);
    const report = await this.follow(wanted, body, signal);
    if (report.status === 'failed') {
      const { code, detail } = report.error ?? { code: 'boot_check_failed', detail: 'The node gave no reason why the guest could not be started.' };
      if (code === 'check_interrupted') return null;
      throw new DomainError('conflict', code, detail);
    }
    const artefacts = await this.nodes.getBootCheckArtefacts(await this.urlOf(wanted.node_id), body.check_id);
    if (artefacts === null) return null;
    return {
      verdict: report.status === 'booted' ? 'booted' : 'not_booted',
      sign: report.sign,
      detail: report.detail,
      seconds: report.seconds,
      changes: report.changes,
      artefacts: await this.artefacts.keep(request.verification_id, artefacts),
      screenshot_problem: artefacts.screenshot_problem,
      checked_at: this.clock.iso(),
    };
  }

  /**
   * Removes the guest and the exports of an attempt, including those of an earlier hub. A node that stays unreachable ends its guest itself, at the latest
   * when its time is up.
   */
  async cleanUp(request: Request, wanted: BootWanted, attempt: number, newContext: () => CommandContext, signal: AbortSignal): Promise<void> {
    const node = await this.dataSource.getRepository(NodeReadModel).findOneBy({ node_id: wanted.node_id });
    const ends = performance.now() + this.config.failAfterSilentSeconds * 1000;
    while (node !== null) {
      try {
        await this.nodes.settleBootCheck(node.url, checkId(request, attempt));
        break;
      } catch (error) {
        if (!(error instanceof DomainError) || !SILENT.has(error.code)) throw error;
        if (performance.now() > ends) {
          this.log.warn('could not make the node discard a boot check: it stays unreachable', {
            verification_id: request.verification_id,
            node_id: wanted.node_id,
            error,
          });
          break;
        }
        await pause(POLL_MS, undefined, { signal });
      }
    }
    for (const { disk_id } of wanted.disks) {
      const exportId = derivedId(restoreExportIdName(commandId(request, attempt, disk_id)));
      try {
        await this.commands.execute(new EndRestoreExport(exportId, newContext(), holder(request)));
      } catch (error) {
        if (!(error instanceof DomainError) || error.code !== 'restore_export_not_found') throw error;
      }
    }
  }

  private async bodyOf(request: Request, wanted: BootWanted, attempt: number, newContext: () => CommandContext): Promise<NodeStartBootCheck> {
    const point = request.points.at(-1);
    const { definition } = await this.files.readRecordedManifest(request.repository_path, point?.folder ?? '', point?.manifest_sha256 ?? null);
    if (definition === null) throw new DomainError('conflict', 'definition_missing', `The manifest of restore point ${request.backup_id} has no definition.`);
    const disks: NodeStartBootCheck['disks'][number][] = [];
    for (const { disk_id, disk_key, size_bytes } of wanted.disks) {
      const context = { ...newContext(), commandId: commandId(request, attempt, disk_id) };
      const { export_id, position } = await this.commands.execute(
        new StartRestoreExport(request.backup_id, disk_id, 'read_write', false, context, holder(request), request.repository_id),
      );
      await this.readModels.waitFor(position, 'restore_exports');
      const { uri } = await this.dataSource.getRepository(RestoreExportReadModel).findOneByOrFail({ export_id });
      if (uri === null) throw new DomainError('unavailable', 'export_not_started', `The export ${export_id} of disk ${disk_id} has already ended.`);
      const key = await readExportKey(this.config.runDirectory, export_id);
      disks.push({ disk_key, size_bytes, uri, ...(key === null ? {} : { export_key: key }) });
    }
    return {
      check_id: checkId(request, attempt),
      vm_name: request.vm_name,
      definition,
      disks,
      console_text: wanted.console_text,
      guest_agent: wanted.guest_agent,
      timeout_seconds: wanted.timeout_seconds,
      memory_mib: wanted.memory_mib,
    };
  }

  private async follow(wanted: BootWanted, body: NodeStartBootCheck, signal: AbortSignal): Promise<NodeBootCheckReport> {
    const ends = performance.now() + wanted.timeout_seconds * 1000 + NODE_PATIENCE_MS;
    let heardAt = performance.now();
    while (performance.now() < ends) {
      signal.throwIfAborted();
      try {
        const url = await this.urlOf(wanted.node_id);
        const report = (await this.nodes.getBootCheck(url, body.check_id)) ?? (await this.nodes.startBootCheck(url, body));
        heardAt = performance.now();
        if (report.status !== 'running') return report;
      } catch (error) {
        if (!(error instanceof DomainError) || !SILENT.has(error.code)) throw error;
        if (performance.now() - heardAt > this.config.failAfterSilentSeconds * 1000) throw error;
      }
      await pause(POLL_MS, undefined, { signal });
    }
    throw new DomainError('upstream_silent', 'boot_check_stuck', `The node ${wanted.node_id} did not finish the boot check ${body.check_id} in time.`);
  }

  private async urlOf(nodeId: string): Promise<string> {
    const node = await this.dataSource.getRepository(NodeReadModel).findOneBy({ node_id: nodeId });
    if (node === null) throw new DomainError('not_found', 'node_not_found', `The node ${nodeId} is not registered.`, { node_id: nodeId });
    return node.url;
  }
}

function checkId({ verification_id }: Request, attempt: number): string {
  return derivedId(`boot-check/${verification_id}/${attempt}`);
}

function commandId({ verification_id }: Request, attempt: number, diskId: number): string {
  return derivedId(`boot-check/${verification_id}/${attempt}/disk/${diskId}`);
}

function holder({ verification_id }: Request): string {
  return `verification ${verification_id}`;
}
