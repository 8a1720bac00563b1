import { setTimeout as pause } from 'node:timers/promises';
import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import type { Subscription } from 'rxjs';
import { DataSource, In } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import { RecordLeftovers } from '../../../nodes/nodes/model/node.commands.js';
import { Ids } from '../../../../lib/clock/clock.js';
import { HUB_ID } from '../../../store/event-store/command-runner.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { jobOfChangeId } from '../../../../contract/change-id.js';
import type { NodeRemoveChangeIds, NodeVmProblem } from '../../../../contract/change-ids.js';
import { NodeClient } from '../../../nodes/node-link/node-client.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { ObserveVmProblem } from '../../vms/model/vm.commands.js';
import { ChangeIdsInUse } from '../model/change-ids-in-use.reader.js';
import { unneededChangeIds } from './unneeded-change-ids.decide.js';

const DAY_MS = 24 * 60 * 60_000;
/** Interval between checks for new findings at the nodes. */
const FINDINGS_MS = 5_000;
const STOP_PATIENCE_MS = 1_000;
/** Events after which a node is cleaned up: it is new, or has been away and may have missed requests to drop change ids. */
const ARRIVALS: ReadonlySet<string> = new Set(['NodeRegistered', 'NodeMoved', 'NodeBecameReachable']);

/**
 * Makes every node drop the change ids that no chain needs, and records the orphans the node has found: when the hub starts, when a node becomes available,
 * and daily. A change id kept too long costs space and time at the source. One dropped too early costs a full, so only change ids that are known to be
 * unneeded are dropped.
 */
@Injectable()
export class CleanUpNodesReactor implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly log = loggerFor('CleanUpNodes');
  private events: Subscription | null = null;
  private daily: NodeJS.Timeout | null = null;
  private frequent: NodeJS.Timeout | null = null;
  /** By node: `findings` of its health when it was last cleaned up. */
  private readonly findings = new Map<string, string>();
  private underWay: Promise<void> = Promise.resolve();
  /** Number of tasks under way or queued. */
  private waiting = 0;
  private stopping = false;

  constructor(
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly nodes: NodeClient,
    private readonly commands: CommandBus,
    private readonly changeIds: ChangeIdsInUse,
    private readonly ids: Ids,
    @Inject(HUB_ID) private readonly hubId: string,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('node').subscribe((event) => {
      if (ARRIVALS.has(event.type)) this.enqueue(() => this.cleanUp(event.stream.slice('node-'.length)));
    });
    this.enqueue(() => this.cleanUpAll());
    this.daily = setInterval(() => this.enqueue(() => this.cleanUpAll()), DAY_MS);
    this.daily.unref();
    this.frequent = setInterval(() => {
      if (this.waiting === 0) this.enqueue(() => this.lookForFindings());
    }, FINDINGS_MS);
    this.frequent.unref();
  }

  async onApplicationShutdown(): Promise<void> {
    this.stopping = true;
    this.events?.unsubscribe();
    if (this.daily !== null) clearInterval(this.daily);
    if (this.frequent !== null) clearInterval(this.frequent);
    // A node that does not respond must not delay the shutdown. Skipped work is done after the next start.
    await Promise.race([this.underWay, pause(STOP_PATIENCE_MS, undefined, { ref: false })]);
  }

  private enqueue(work: () => Promise<void>): void {
    this.waiting += 1;
    this.underWay = this.underWay.then(async () => {
      if (!this.stopping)
        await work().catch((error: unknown) => this.log.warn('could not clean up a node; trying again when it becomes available, and daily', { error }));
      this.waiting -= 1;
    });
  }

  private async cleanUpAll(): Promise<void> {
    await this.feed.ready;
    for (const { node_id } of await this.dataSource.getRepository(NodeReadModel).find()) this.enqueue(() => this.cleanUp(node_id));
  }

  private async cleanUp(nodeId: string): Promise<void> {
    await this.readModels.current();
    const node = await this.dataSource.getRepository(NodeReadModel).findOneBy({ node_id: nodeId });
    // Nodes that are not admitted are not called.
    if (node === null || !['unknown', 'reachable', 'unreachable'].includes(node.state)) return;
    // List the change ids before finding out which are needed: ids made in between are then not in the list.
    const { vms, swept, vm_problems: problems = [] } = await this.nodes.changeIds(node.url, this.hubId);
    await this.noteProblems(nodeId, problems);
    const unneeded: NodeRemoveChangeIds['vms'][number][] = [];
    for (const { source, source_ref, change_ids } of vms) {
      const orphans = await this.unneededOf(change_ids);
      if (orphans.length > 0) unneeded.push({ source, source_ref, change_ids: orphans });
    }
    if (unneeded.length === 0 && swept.length === 0) return;
    const { removed } = await this.nodes.removeChangeIds(node.url, { hub_id: this.hubId, vms: unneeded, known_swept: swept });
    const id = this.ids.next();
    await this.commands.execute(new RecordLeftovers(nodeId, removed, swept, { commandId: id, correlationId: id, actor: 'system:clean-up-nodes' }));
    if (removed.length > 0 || swept.length > 0)
      this.log.info('cleaned up leftovers of earlier backups at a node', { node_id: nodeId, change_ids: removed.length, swept });
  }

  private async noteProblems(nodeId: string, problems: readonly NodeVmProblem[]): Promise<void> {
    for (const vm of await this.dataSource.getRepository(VmReadModel).findBy({ node_id: nodeId })) {
      const problem = problems.find(({ source, source_ref }) => source === vm.source && source_ref === vm.source_ref) ?? null;
      if ((problem?.code ?? null) === (vm.problem?.code ?? null)) continue;
      const id = this.ids.next();
      const found = problem === null ? null : { code: problem.code, detail: problem.detail };
      await this.commands.execute(new ObserveVmProblem(vm.vm_id, found, { commandId: id, correlationId: id, actor: 'system:clean-up-nodes' }));
    }
  }

  /** Cleans up nodes whose findings have changed since the last time. */
  private async lookForFindings(): Promise<void> {
    for (const { node_id, url } of await this.dataSource.getRepository(NodeReadModel).findBy({ state: 'reachable' })) {
      const findings = await this.nodes.health(url).then(
        (health) => health.findings ?? 'none',
        // WatchNodesService records that the node is unreachable.
        () => null,
      );
      if (findings === null || findings === (this.findings.get(node_id) ?? 'none')) continue;
      await this.cleanUp(node_id);
      this.findings.set(node_id, findings);
    }
  }

  private async unneededOf(changeIds: readonly string[]): Promise<readonly string[]> {
    const makerOf = (changeId: string): string => jobOfChangeId(this.hubId, changeId);
    const rows = await this.dataSource.getRepository(BackupReadModel).findBy({ backup_id: In(changeIds.map(makerOf)) });
    const makers = new Map(rows.map((row) => [row.backup_id, row]));
    const inUse = new Set<string>();
    for (const vmId of new Set(rows.map((row) => row.vm_id))) {
      for (const changeId of await this.changeIds.of(vmId)) inUse.add(changeId);
    }
    return unneededChangeIds(changeIds, inUse, (changeId) => {
      const maker = makers.get(makerOf(changeId));
      return maker === undefined ? null : { status: maker.status, settled: maker.change_tracking !== null };
    });
  }
}
