import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { KeyRotationService } from './key-rotation.service.js';

const INTERVAL_MS = 5_000;

/** Resumes rotations that were interrupted by a crash, a restart or the network. */
@Injectable()
export class RotateKeysService implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = loggerFor('RotateKeys');
  private timer: NodeJS.Timeout | null = null;
  private stopped = false;

  constructor(
    private readonly dataSource: DataSource,
    private readonly rotation: KeyRotationService,
  ) {}

  onApplicationBootstrap(): void {
    this.schedule();
  }

  onModuleDestroy(): void {
    this.stopped = true;
    if (this.timer !== null) clearTimeout(this.timer);
  }

  private schedule(): void {
    if (this.stopped) return;
    this.timer = setTimeout(() => void this.goOn().then(() => this.schedule()), INTERVAL_MS);
    this.timer.unref();
  }

  private async goOn(): Promise<void> {
    try {
      const nodes = await this.dataSource.getRepository(NodeReadModel).findBy({ state: 'reachable' });
      for (const { node_id: nodeId } of nodes.filter(({ enrolment }) => enrolment?.rotating === true)) {
        await this.rotation
          .activate(nodeId)
          .catch((error: unknown) => this.logger.warn('could not continue the key rotation of a node; trying again', { node_id: nodeId, error }));
      }
    } catch (error) {
      if (!this.stopped) this.logger.warn('could not look for unfinished key rotations; trying again', { error });
    }
  }
}
