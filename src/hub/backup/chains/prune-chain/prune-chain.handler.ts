import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DataSource, In } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { ChainReadModel } from '../../../../../projections/chains/chains.read-model.js';
import { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import type { Position } from '../../../../kernel/position.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import type { PrunePlan } from '../../../../storage/pruning/prune-chains.plan.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { type ChainPruning, type PlannedStep, PruneChains } from '../model/chain.commands.js';
import { chainStream } from '../model/chain.events.js';
import { chainDecider } from '../model/chain.state.js';
import { PrunableChains, refuseLocked } from '../model/prunable-chain.reader.js';
import { decidePruneChain } from './prune-chain.decide.js';

const decider = chainDecider(decidePruneChain);

@CommandHandler(PruneChains)
export class PruneChainsHandler implements ICommandHandler<PruneChains> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly chains: PrunableChains,
  ) {}

  async execute({
    vmId,
    remove,
    dryRun,
    context,
    onlyExpired,
  }: PruneChains): Promise<{ readonly chains: readonly ChainPruning[]; readonly position: Position | null }> {
    await this.readModels.current('backups', 'chains', 'vms');
    const wanted = remove.map((id) => id.toLowerCase());
    const planned: ChainPruning[] = [];
    for (const chainId of await this.chainsOf(vmId, wanted)) {
      const found = await this.chains.find(chainId);
      if (found === null) continue;
      const plan = await this.chains.plan(found, [...found.chain.pruning, ...wanted]);
      planned.push(toChainPruning(chainId, found.chain.repository_id, plan));
    }
    let position: Position | null = null;
    if (!dryRun) {
      for (const { chain_id } of planned) {
        const own = { ...context, commandId: derivedId(`prune/${context.commandId}/${chain_id}`) };
        const data = { remove: wanted, only_expired: onlyExpired, requested_at: this.clock.iso() };
        position = (await this.runner.run(chainStream(chain_id), decider, data, own)).position ?? position;
      }
    }
    return { chains: planned, position };
  }

  /**
   * The chains that hold the restore points.
   * @throws DomainError vm_not_found, backup_not_found, restore_point_not_ready, restore_point_not_in_chain,
   * restore_point_held, restore_point_pinned, restore_point_locked
   */
  private async chainsOf(vmId: string, backupIds: readonly string[]): Promise<ReadonlySet<string>> {
    const rows = new Map((await this.dataSource.getRepository(BackupReadModel).findBy({ backup_id: In([...backupIds]) })).map((row) => [row.backup_id, row]));
    if (!(await this.dataSource.getRepository(VmReadModel).existsBy({ vm_id: vmId })) && ![...rows.values()].some(({ vm_id }) => vm_id === vmId)) {
      throw new DomainError('not_found', 'vm_not_found', `There is no VM ${vmId}.`, { vm_id: vmId });
    }
    const chains = new Set<string>();
    for (const backup_id of backupIds) {
      const backup = rows.get(backup_id);
      if (backup === undefined || backup.vm_id !== vmId) {
        throw new DomainError('not_found', 'backup_not_found', `VM ${vmId} has no backup ${backup_id}.`, { backup_id, vm_id: vmId });
      }
      // A deleted one has gone, as was asked for.
      if (backup.status === 'deleted') continue;
      if (backup.status !== 'completed' || backup.chain_id === null) {
        throw new DomainError('conflict', 'restore_point_not_ready', `Backup ${backup_id} is ${backup.status}; only a completed backup is a restore point.`, {
          backup_id,
          status: backup.status,
        });
      }
      for (const [kept, code, how] of [
        [backup.hold, 'restore_point_held', 'held. Release it first.'],
        [backup.pin, 'restore_point_pinned', 'pinned. Unpin it first.'],
      ] as const) {
        if (kept !== null) throw new DomainError('conflict', code, `Restore point ${backup_id} cannot be removed because it is ${how}`, { backup_id });
      }
      refuseLocked(backup, this.clock.now());
      const chain = await this.dataSource.getRepository(ChainReadModel).findOneBy({ chain_id: backup.chain_id });
      if (chain?.points.some((point) => point.backup_id === backup_id) !== true) {
        throw new DomainError('conflict', 'restore_point_not_in_chain', `Restore point ${backup_id} does not belong to a chain. Delete it instead.`, {
          backup_id,
        });
      }
      chains.add(chain.chain_id);
    }
    return chains;
  }
}

/** What a plan does to a chain, as the API shows it. */
export function toChainPruning(
  chain_id: string,
  repository_id: string,
  { steps, left, read_bytes, write_bytes, new_bytes, free_bytes }: PrunePlan,
): ChainPruning {
  const planned = steps.map((step): PlannedStep => {
    const { new_bytes: _, ...shown } = step;
    return { ...shown, parent_backup_id: step.kind === 'absorb' ? step.parent_backup_id : null, merged: step.kind === 'drop' ? [] : step.merged };
  });
  return { chain_id, repository_id, steps: planned, left, read_bytes, write_bytes, needed_bytes: new_bytes, free_bytes };
}
