import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { TimeoutError } from 'rxjs';
import { DataSource, In } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { PolicyReadModel } from '../../../../../projections/policies/policies.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import { DomainError, type ErrorKind } from '../../../../kernel/domain-error.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { asDomainEvent, CommandRunner } from '../../../store/event-store/command-runner.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { KeyedMutex, repositoryUseLock, vmUseLock } from '../../../../lib/concurrency/keyed-mutex.js';
import { HubConfig } from '../../../hub.config.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { policyNotFound } from '../../policies/model/policy.commands.js';
import { BackupFactsReader } from '../model/backup-facts.reader.js';
import { backupIdOf } from '../model/backup-correlation.reader.js';
import { StartBackup } from '../model/backup.commands.js';
import { type BackupEvent, backupStream } from '../model/backup.events.js';
import { backupDecider } from '../model/backup.state.js';
import { decideRequestBackup, type RequestBackup } from './start-backup.decide.js';

const decider = backupDecider(decideRequestBackup);

/** How long the response waits for the exports. If node or storage is slower, the response shows the backup in its state at that time. */
const READY_PATIENCE_MS = 60_000;

/** Events after which POST /backups can answer: all exports are ready, or the backup is queued, or it has ended. */
const ANSWERABLE: ReadonlySet<string> = new Set(['TransferRequested', 'BackupQueued', 'BackupFailed', 'BackupCancelled', 'BackupDeleted']);

/** Codes of failures that the response does not report as a conflict, by kind. */
export const FAILURE_CODES = {
  storage_full: ['repository_full', 'repository_too_full', 'node_storage_full'],
  upstream_unreachable: ['node_unreachable'],
  upstream_silent: ['node_silent'],
  upstream_broken: ['node_broken_answer', 'node_not_proven', 'node_refused_token'],
  unavailable: [
    'image_root_silent',
    'repository_unavailable',
    'restore_point_being_rewritten',
    'tool_missing',
    'tool_failed',
    'tool_timeout',
    'tool_killed',
    'libvirt_unavailable',
    'libvirt_refused',
    'export_tool_missing',
    'export_exited_early',
    'export_handshake_timeout',
    'export_port_in_use',
  ],
} as const;

@CommandHandler(StartBackup)
export class StartBackupHandler implements ICommandHandler<StartBackup> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly facts: BackupFactsReader,
    private readonly dataSource: DataSource,
    private readonly mutex: KeyedMutex,
    private readonly config: HubConfig,
  ) {}

  /**
   * Returns the backup's id once its exports are ready or it is queued, and its row shows that.
   * @throws DomainError: before anything is recorded, the obstacle to the backup; afterwards the cause of its failure, with the backup's id in the facts
   */
  async execute(command: StartBackup): Promise<string> {
    const backupId = backupIdOf(command.context.commandId);
    const stream = backupStream(backupId);
    const known = (await this.runner.load(stream, decider)).state;
    if (known.status === 'none') await this.request(command, backupId);

    const reached = await this.feed
      .first(stream, (event) => ANSWERABLE.has(event.type), READY_PATIENCE_MS)
      .catch((error: unknown) => {
        if (error instanceof TimeoutError) return null;
        throw error;
      });
    if (reached !== null) {
      const event = asDomainEvent<BackupEvent>(reached);
      if (event.type === 'BackupFailed') throw failure(backupId, event.data.code, event.data.stage, event.data.detail);
      await this.readModels.waitFor(reached.position, 'backups');
    }
    return backupId;
  }

  private async request(command: StartBackup, backupId: string): Promise<void> {
    await this.readModels.current();
    const policyVersion = await this.policyVersion(command.policy);
    const vm = await this.findVm(command.vm);
    const { repositoryId: repository_id, backupType: backup_type } = command;
    // A running backup of the VM holds its source, so the source cannot be inspected now. This backup waits, and its facts are gathered when it is planned.
    // So are those of the thousands of backups of a policy that wait for hours: inspecting all their sources at the minute would only burden the nodes.
    const waits = (typeof command.policy?.version === 'number' && (await this.areMoreThanMayRun())) || (await this.isBusy(vm.vm_id));
    if (!waits) await this.facts.gatherFor(vm, { repository_id, backup_type, backup_id: backupId }).catch(unlessRewriting);
    // VM or repository may have been removed while the source was inspected. Under this lock they cannot be: a removal waits, and then finds the backup.
    await this.mutex.runExclusive(vmUseLock(vm.vm_id), () =>
      this.mutex.runExclusive(repositoryUseLock(repository_id), async () => {
        await this.readModels.current('vms', 'repositories');
        await this.requireBoth(vm.vm_id, repository_id);
        await this.record(command, backupId, vm, policyVersion);
      }),
    );
  }

  private async record(command: StartBackup, backupId: string, vm: VmReadModel, policyVersion: number | null): Promise<void> {
    const request: RequestBackup = {
      kind: 'request-backup',
      request: {
        backup_id: backupId,
        vm_id: vm.vm_id,
        vm_name: vm.name,
        node_id: vm.node_id,
        repository_id: command.repositoryId,
        backup_type: command.backupType,
        policy_id: command.policy?.policy_id ?? null,
        ...(policyVersion === null ? {} : { policy_version: policyVersion }),
        requested_at: this.clock.iso(),
      },
      options: command.options,
    };
    await this.runner.run(backupStream(backupId), decider, request, command.context);
  }

  /** A run that has started keeps its version, even if the policy has been deleted since. @throws DomainError policy_not_found */
  private async policyVersion(policy: StartBackup['policy']): Promise<number | null> {
    if (policy === null || policy.version !== null) return policy?.version ?? null;
    const { policy_id } = policy;
    const row = await this.dataSource.getRepository(PolicyReadModel).findOneBy({ policy_id });
    if (row === null) throw policyNotFound(policy_id);
    return row.version;
  }

  private async findVm(wanted: StartBackup['vm']): Promise<VmReadModel> {
    const vms = this.dataSource.getRepository(VmReadModel);
    const vm = 'vm_id' in wanted ? await vms.findOneBy({ vm_id: wanted.vm_id }) : await vms.findOneBy({ name: wanted.vm_name });
    return vm ?? vmNotFound(wanted);
  }

  private async areMoreThanMayRun(): Promise<boolean> {
    const [unended] = await this.dataSource
      .getRepository(BackupReadModel)
      .find({ select: { backup_id: true }, where: { status: In(['pending', 'running']) }, skip: this.config.maxConcurrentBackups, take: 1 });
    return unended !== undefined;
  }

  private async isBusy(vmId: string): Promise<boolean> {
    return this.dataSource
      .getRepository(BackupReadModel)
      .createQueryBuilder('backup')
      .where("backup.vm_id = :vmId and (backup.status in ('pending', 'running') or (backup.status = 'completed' and backup.change_tracking is null))", { vmId })
      .getExists();
  }

  /** A VM keeps its name and its node as long as it is registered. */
  private async requireBoth(vm_id: string, repository_id: string): Promise<void> {
    if (!(await this.dataSource.getRepository(VmReadModel).existsBy({ vm_id }))) vmNotFound({ vm_id });
    if (await this.dataSource.getRepository(RepositoryReadModel).existsBy({ repository_id })) return;
    throw new DomainError('not_found', 'repository_not_found', `There is no repository ${repository_id}.`, { repository_id });
  }
}

/** The files of the chain are being replaced at this moment. The backup is planned under the lock that this is done under. */
function unlessRewriting(error: unknown): void {
  if (!(error instanceof DomainError) || error.code !== 'restore_point_being_rewritten') throw error;
}

function vmNotFound(wanted: StartBackup['vm']): never {
  const named = 'vm_id' in wanted ? wanted.vm_id : `named "${wanted.vm_name}"`;
  throw new DomainError('not_found', 'vm_not_found', `There is no VM ${named}. Register it first, or check the list of VMs.`, { ...wanted });
}

/** For a backup that failed before its exports were ready: the response gives the cause. */
function failure(backupId: string, code: string, stage: string, detail: string): DomainError {
  return new DomainError(kindOf(code), code, `Backup ${backupId} failed at stage ${stage}: ${detail}`, { backup_id: backupId, stage });
}

function kindOf(code: string): ErrorKind {
  const kinds: readonly (keyof typeof FAILURE_CODES)[] = ['storage_full', 'upstream_unreachable', 'upstream_silent', 'upstream_broken', 'unavailable'];
  return kinds.find((kind) => FAILURE_CODES[kind].some((known) => known === code)) ?? 'conflict';
}
