import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { HubConfig } from '../../../hub.config.js';
import { ListenAddress } from '../../../../lib/http/listen-address.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import type { NodeTunnelPorts } from '../../../../contract/node-api.js';
import { NodeClient } from '../../node-link/node-client.js';
import { repeat, type Repetition } from '../../../../lib/process/repeat.js';

const LOOK_MS = 2_000;

/**
 * Tells enrolled nodes which ports the API and the pool of NBD ports have, once after each start and after each change, until they have taken it. Nothing is recorded: the
 * node writes it down, and a node that knows it already does nothing. A change of the API's port cuts nodes off from the API, but not the hub from the nodes.
 */
@Injectable()
export class TellPortsReactor implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = loggerFor('TellPorts');
  /** By node: what it has taken, as text. */
  private readonly taken = new Map<string, string>();
  private repetition: Repetition | null = null;
  private telling: Promise<void> | null = null;
  private stopped = false;

  constructor(
    private readonly dataSource: DataSource,
    private readonly config: HubConfig,
    private readonly listenAddress: ListenAddress,
    private readonly nodes: NodeClient,
  ) {}

  onApplicationBootstrap(): void {
    this.listenAddress.whenListening(() => {
      if (this.stopped) return;
      this.repetition = repeat(
        () => LOOK_MS,
        () => {
          this.telling ??= this.tellAll().finally(() => {
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

  private async tellAll(): Promise<void> {
    const apiPort = this.listenAddress.loopbackPort();
    // Then no tunnel can lead to it.
    if (apiPort === null) return;
    const { nbdPortFirst, nbdPortCount } = this.config;
    const ports: NodeTunnelPorts = { hub_api_port: apiPort, nbd_port_first: nbdPortFirst, nbd_port_count: nbdPortCount };
    try {
      const nodes = await this.dataSource.getRepository(NodeReadModel).find();
      const enrolled = nodes.filter(({ node_id, enrolment }) => enrolment?.state === 'enrolled' && this.taken.get(node_id) !== JSON.stringify(ports));
      await Promise.all(enrolled.map(({ node_id, url }) => this.tell(node_id, url, ports)));
    } catch (error) {
      if (!this.stopped) this.logger.warn('nodes cannot be told of ports; trying again', { error });
    }
  }

  private async tell(nodeId: string, url: string, ports: NodeTunnelPorts): Promise<void> {
    try {
      const { changed } = await this.nodes.tellTunnelPorts(url, ports);
      this.taken.set(nodeId, JSON.stringify(ports));
      if (changed) this.logger.info('a node follows the ports of this hub', { node_id: nodeId, ...ports });
    } catch (error) {
      if (error instanceof DomainError && error.code === 'route_not_found') {
        // An older release: it is told again by the start that follows its upgrade.
        this.taken.set(nodeId, JSON.stringify(ports));
        return;
      }
      // One that cannot be reached is tried again; that it cannot is told by its state.
      this.logger.debug('a node could not be told of ports; trying again', { node_id: nodeId, error });
    }
  }
}
