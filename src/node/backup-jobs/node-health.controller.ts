import { Controller, Get } from '@nestjs/common';
import { Clock } from '../../lib/clock/clock.js';
import { NodeConfig } from '../node.config.js';
import { programVersion } from '../../lib/config/version.js';
import { Public } from '../../lib/http/bearer.guard.js';
import type { NodeHealth } from '../../contract/health.js';
import { ActiveJobs } from '../model/active-jobs.registry.js';
import { BackupJobs } from './backup-jobs.service.js';

@Controller('health')
export class NodeHealthController {
  constructor(
    private readonly config: NodeConfig,
    private readonly clock: Clock,
    private readonly active: ActiveJobs,
    private readonly jobs: BackupJobs,
  ) {}

  @Public()
  @Get()
  health(): NodeHealth {
    return {
      status: 'ok',
      node_id: this.config.nodeId ?? 'unnamed',
      version: programVersion(),
      time: this.clock.iso(),
      active_jobs: this.active.count,
      findings: this.jobs.findings,
    };
  }
}
