import { join } from 'node:path';
import { type DynamicModule, Global, Module } from '@nestjs/common';
import { Clock } from '../lib/clock/clock.js';
import { NodeConfig } from './node.config.js';
import { ACCESS_TOKENS, type AccessTokens } from '../lib/http/access-tokens.js';
import { HttpModule } from '../lib/http/http.module.js';
import { LibvirtDomains } from './libvirt/libvirt-domains.js';
import { NbdInfo } from '../lib/nbd/nbd-info.js';
import { ProcessSupervisor } from '../lib/process/process-supervisor.port.js';
import { ShellProcessSupervisor } from '../lib/process/shell-process-supervisor.js';
import { QemuImg } from '../lib/qemu/qemu-img.js';
import { SEEN_CALLS_FILE } from '../lib/signed-calls/seen-nonces.js';
import { BackupJobsController } from './backup-jobs/backup-jobs.controller.js';
import { BackupJobs } from './backup-jobs/backup-jobs.service.js';
import { ChangeIdsController } from './backup-jobs/change-ids.controller.js';
import { JobJournal } from './backup-jobs/job-journal.js';
import { TelemetryPush } from './backup-jobs/telemetry-push.js';
import { NodeHealthController } from './backup-jobs/node-health.controller.js';
import { NodeKeysController } from './keys/node-keys.controller.js';
import { NodeKeys } from './keys/node-keys.service.js';
import { ListVmsController } from './list-vms/list-vms.controller.js';
import { ImageServers } from './sources/image-servers.js';
import { ImageSource } from './sources/image/image.source.js';
import { LibvirtSource } from './sources/libvirt/libvirt.source.js';
import { GuestDisks } from './guest-disks/guest-disks.service.js';
import { ActiveJobs } from './model/active-jobs.registry.js';
import { Sources } from './sources/sources.js';
import { BootChecksController } from './boot-checks/boot-checks.controller.js';
import { BootChecks } from './boot-checks/boot-checks.service.js';
import { TunnelReport } from './hub-link/tunnel-report.service.js';
import { VmRestoreJournal } from './vm-restores/vm-restore-journal.js';
import { TunnelPortsController } from './hub-link/tunnel-ports.controller.js';
import { TunnelPorts } from './hub-link/tunnel-ports.service.js';
import { VmRestoresController } from './vm-restores/vm-restores.controller.js';
import { VmRestores } from './vm-restores/vm-restores.service.js';

@Global()
@Module({})
class NodeConfigModule {
  static of(config: NodeConfig): DynamicModule {
    return { module: NodeConfigModule, providers: [{ provide: NodeConfig, useValue: config }], exports: [NodeConfig] };
  }
}

/** A node has one token: the hub uses it to authenticate to the node on every route, and the node to the hub. */
@Module({})
class NodeTokenModule {
  static of(nodeToken: string): DynamicModule {
    const tokens: AccessTokens = { apiToken: nodeToken, nodeToken };
    return { module: NodeTokenModule, providers: [{ provide: ACCESS_TOKENS, useValue: tokens }], exports: [ACCESS_TOKENS] };
  }
}

/** The root module of the node. */
@Module({
  controllers: [
    NodeKeysController,
    NodeHealthController,
    ListVmsController,
    BackupJobsController,
    VmRestoresController,
    BootChecksController,
    ChangeIdsController,
    TunnelPortsController,
  ],
  providers: [
    Clock,
    QemuImg,
    NbdInfo,
    { provide: ProcessSupervisor, useClass: ShellProcessSupervisor },
    ImageServers,
    ImageSource,
    LibvirtSource,
    Sources,
    JobJournal,
    TelemetryPush,
    BackupJobs,
    LibvirtDomains,
    GuestDisks,
    ActiveJobs,
    VmRestoreJournal,
    VmRestores,
    BootChecks,
    NodeKeys,
    TunnelReport,
    TunnelPorts,
  ],
})
export class NodeAgentModule {
  static forRoot(options: { readonly config: NodeConfig; readonly nodeToken: string }): DynamicModule {
    return {
      module: NodeAgentModule,
      imports: [
        NodeConfigModule.of(options.config),
        HttpModule.of(
          { callsHere: 'to_node' },
          { imports: [NodeTokenModule.of(options.nodeToken)], seenCallsFile: join(options.config.dataDirectory, SEEN_CALLS_FILE) },
        ),
      ],
    };
  }
}
