import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DataSource, In, Not } from 'typeorm';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import type { NodeVm } from '../../../../contract/vm-list.js';
import { NodeClient } from '../../../nodes/node-link/node-client.js';
import { RegisterLock, VMS_AND_NODES } from '../../../store/register-lock/register-lock.js';
import { requireLegalVmName } from '../model/vm-name.decide.js';
import { RegisterVm, type VmRegistration } from '../model/vm.commands.js';
import { type VmSource, vmStream } from '../model/vm.events.js';
import { vmDecider } from '../model/vm.state.js';
import { decideRegisterVm } from './register-vm.decide.js';

const decider = vmDecider(decideRegisterVm);

@CommandHandler(RegisterVm)
export class RegisterVmHandler implements ICommandHandler<RegisterVm> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly dataSource: DataSource,
    private readonly nodes: NodeClient,
    private readonly lock: RegisterLock,
  ) {}

  async execute(command: RegisterVm): Promise<VmRegistration> {
    // Checked before the node is queried; the decision checks it again.
    requireLegalVmName(command.name);
    // Derived, so that a repeated command registers the same VM.
    const vmId = derivedId(`vm/${command.context.commandId}`);

    return this.lock.run(VMS_AND_NODES, ['vms', 'nodes'], async () => {
      const node = await this.nodeOf(command.nodeId);
      const found = await this.describe(node, command.source, command.sourceRef);
      const vms = this.dataSource.getRepository(VmReadModel);
      const sameName = await vms.findOneBy({ name: command.name, vm_id: Not(vmId) });
      const sameSource = await vms.findOneBy({ node_id: node.node_id, source: command.source, source_ref: found.source_ref, vm_id: Not(vmId) });
      const outcome = await this.runner.run(
        vmStream(vmId),
        decider,
        {
          vm: {
            vm_id: vmId,
            name: command.name,
            node_id: node.node_id,
            source: command.source,
            source_ref: found.source_ref,
            disks: found.disks.map(({ disk_id, disk_key, size_bytes, format, change_tracking }) => ({
              disk_id,
              disk_key,
              size_bytes,
              format,
              change_tracking,
            })),
            registered_at: this.clock.iso(),
          },
          name_holder: sameName?.vm_id ?? null,
          source_holder: sameSource === null ? null : { vm_id: sameSource.vm_id, name: sameSource.name },
        },
        command.context,
      );
      if (outcome.state.status !== 'registered') {
        throw new DomainError('conflict', 'vm_removed', `VM "${command.name}" was registered by the same request earlier and has been removed since.`, {
          vm_id: vmId,
        });
      }
      return { vm: outcome.state.vm, position: outcome.position };
    });
  }

  private async nodeOf(nodeId: string | null): Promise<NodeReadModel> {
    const nodes = this.dataSource.getRepository(NodeReadModel);
    if (nodeId !== null) {
      const node = await nodes.findOneBy({ node_id: nodeId });
      if (node === null) throw new DomainError('not_found', 'node_not_found', `There is no node ${nodeId}.`, { node_id: nodeId });
      return node;
    }
    const [only, ...others] = await nodes.find({ where: { state: In(['unknown', 'reachable', 'unreachable']) }, order: { node_id: 'ASC' } });
    if (only === undefined) throw new DomainError('conflict', 'no_node_registered', 'No node is registered yet, so no VM can be found. Register a node first.');
    if (others.length > 0) {
      throw new DomainError('invalid', 'node_ambiguous', `There are ${others.length + 1} nodes. Set node_id to the node that has the VM.`, {
        node_ids: [only, ...others].map((node) => node.node_id),
      });
    }
    return only;
  }

  private async describe(node: NodeReadModel, source: VmSource, sourceRef: string): Promise<NodeVm> {
    const list = await this.nodes.listVms(node.url, { source, source_ref: sourceRef }).catch((error: unknown) => {
      if (error instanceof DomainError && error.kind === 'not_found') return { vms: [] };
      throw error;
    });
    const [vm] = list.vms;
    if (vm === undefined) {
      throw new DomainError(
        'not_found',
        'vm_not_found_at_node',
        `Node "${node.name}" found no VM at "${sourceRef}". To list its VMs, use POST /nodes/${node.node_id}/discover.`,
        {
          node_id: node.node_id,
          source_ref: sourceRef,
        },
      );
    }
    if (list.vms.length > 1) {
      throw new DomainError('upstream_broken', 'node_broken_answer', `Node "${node.name}" returned ${list.vms.length} VMs where one was requested.`, {
        node_id: node.node_id,
        source_ref: sourceRef,
      });
    }
    return vm;
  }
}
