import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { HubConfig } from '../../../hub.config.js';
import { ListenAddress } from '../../../../lib/http/listen-address.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import type { NodeTunnelPorts } from '../../../../contract/tunnel.js';
import { HubLease } from '../../../store/postgres/hub-lease.js';
import { NodeClient } from '../../node-link/node-client.js';
import { repeat, type Repetition } from '../../../../lib/process/repeat.js';

const LOOK_MS = 2_000;

/**
 * Sends the ports of the API and of the NBD pool to enrolled nodes, after each start and each change, until each node has accepted them. The hub
 * records nothing: the node stores the ports, and a node that already has them does nothing. A change of the API's port cuts nodes off from the API,
 * but not the hub from the nodes.
 */
@Injectable()
export class ReportPortsService implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = loggerFor('ReportPorts');
  /** The ports each node has accepted, as text, by node id. */
  private readonly taken = new Map<string, string>();
  private repetition: Repetition | null = null;
  private telling: Promise<void> | null = null;
  private stopped = false;

  constructor(
    private readonly dataSource: DataSource,
    private readonly config: HubConfig,
    private readonly listenAddress: ListenAddress,
    private readonly nodes: NodeClient,
    private readonly lease: HubLease,
  ) {}

  onApplicationBootstrap(): void {
    this.listenAddress.whenListening(() => {
      if (this.stopped) return;
      this.repetition = repeat(
        () => LOOK_MS,
        () => {
          this.telling ??= this.sendToAll().finally(() => {
            this.telling = null;
          });
        },
      );
    });
  }

  async onApplicationShutdown(): Promise<void> {
    this.stopped = true;
    this.repetition?.stop();
    await this.telling;
  }

  private async sendToAll(): Promise<void> {
    const apiPort = this.listenAddress.loopbackPort();
    // No tunnel can reach the API then.
    if (apiPort === null) return;
    const { nbdPortFirst, nbdPortCount } = this.config;
    const ports: NodeTunnelPorts = { hub_api_port: apiPort, nbd_port_first: nbdPortFirst, nbd_port_count: nbdPortCount, ...(await this.hubs()) };
    try {
      const nodes = await this.dataSource.getRepository(NodeReadModel).find();
      const enrolled = nodes.filter(({ node_id, enrolment }) => enrolment?.state === 'enrolled' && this.taken.get(node_id) !== JSON.stringify(ports));
      await Promise.all(enrolled.map(({ node_id, url }) => this.tell(node_id, url, ports)));
    } catch (error) {
      if (!this.stopped) this.logger.warn('could not send the ports of this hub to its nodes; trying again', { error });
    }
  }

  /** Both hubs of a pair, in an order that does not depend on which one is active; nothing while there is no standby. */
  private async hubs(): Promise<Pick<NodeTunnelPorts, 'hubs'>> {
    const view = await this.lease.view().catch(() => null);
    const [own, other] = [view?.holder?.tunnel ?? null, view?.standby?.tunnel ?? null];
    if (own === null || other === null) return {};
    return { hubs: [own, other].sort((one, another) => (`${one.host}:${one.port}` < `${another.host}:${another.port}` ? -1 : 1)) };
  }

  private async tell(nodeId: string, url: string, ports: NodeTunnelPorts): Promise<void> {
    try {
      const { changed } = await this.nodes.sendTunnelPorts(url, ports);
      this.taken.set(nodeId, JSON.stringify(ports));
      if (changed) this.logger.info('a node now uses the current ports of this hub', { node_id: nodeId, ...ports });
    } catch (error) {
      if (error instanceof DomainError && error.code === 'route_not_found') {
        // An older release: the start after its upgrade sends the ports again.
        this.taken.set(nodeId, JSON.stringify(ports));
        return;
      }
      // Tried again. The node's state shows that it cannot be reached.
      this.logger.debug('could not send the ports of this hub to a node; trying again', { node_id: nodeId, error });
    }
  }
}
