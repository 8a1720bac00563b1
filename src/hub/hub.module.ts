import { join } from 'node:path';
import { type DynamicModule, Global, Module } from '@nestjs/common';
import { CqrsModule } from '@nestjs/cqrs';
import { allProjections, allReadModels } from '../../projections/all-projections.js';
import { AuditModule } from './history/audit/audit.module.js';
import { TimeTravelModule } from './history/time-travel/time-travel.module.js';
import { ReportsModule } from './history/reports/reports.module.js';
import { BackupsModule } from './backup/backups/backups.module.js';
import { ChainsModule } from './backup/chains/chains.module.js';
import { LedgerModule } from './history/ledger/ledger.module.js';
import { HealthModule } from './operations/health/health.module.js';
import { DomainMetricsModule } from './operations/metrics/domain-metrics.module.js';
import { MetricsModule } from './operations/metrics/metrics.module.js';
import { StandbyModule } from './operations/standby/standby.module.js';
import { NbdExportsModule } from './exports/nbd-exports/nbd-exports.module.js';
import { NbdPortsModule } from './exports/nbd-ports/nbd-ports.module.js';
import { NodesModule } from './nodes/nodes/nodes.module.js';
import { HubConfigModule } from './hub-config.module.js';
import type { HubConfig } from './hub.config.js';
import { EventFeed } from './store/event-store/event-feed.js';
import { EventStoreModule } from './store/event-store/event-store.module.js';
import type { EventStoreDbOptions } from './store/event-store/eventstoredb/eventstoredb-connection.js';
import { ACCESS_TOKENS, type AccessTokens } from '../lib/http/access-tokens.js';
import { hubHttpModule } from './operations/http/hub-http.module.js';
import { LocksModule } from './store/locks/locks.module.js';
import type { HubLease } from './store/postgres/hub-lease.js';
import { PostgresModule } from './store/postgres/postgres.module.js';
import { HostToolsModule } from './operations/host-tools/host-tools.module.js';
import { ProjectionsModule } from './store/postgres/projections.module.js';
import { SEEN_CALLS_FILE } from '../lib/signed-calls/seen-nonces.js';
import { ProjectionsAdminModule } from './operations/projections-admin/projections-admin.module.js';
import { CopiesModule } from './repositories/copies/copies.module.js';
import { RepositoriesModule } from './repositories/repositories/repositories.module.js';
import { RestoreExportsModule } from './restore/restore-exports/restore-exports.module.js';
import { RestoreJobsModule } from './restore/restore-jobs/restore-jobs.module.js';
import { VerificationsModule } from './backup/verifications/verifications.module.js';
import { RestoreMountsModule } from './restore/restore-mounts/restore-mounts.module.js';
import { PoliciesModule } from './backup/policies/policies.module.js';
import { VmsModule } from './backup/vms/vms.module.js';
import { eventCheckOf } from './store/postgres/event-check.js';

export interface HubOptions {
  readonly config: HubConfig;
  readonly hubId: string;
  readonly databaseUrl: string;
  /** URL of the role that runs migrations; undefined: the same role. */
  readonly databaseOwnerUrl?: string | undefined;
  readonly tokens: AccessTokens;
  /** Held already; default: the hub takes it. */
  readonly lease?: HubLease;
}

/** Dependencies that every context needs and none owns. */
@Global()
@Module({})
class SharedModule {
  static forRoot(tokens: AccessTokens): DynamicModule {
    return {
      module: SharedModule,
      providers: [EventFeed, { provide: ACCESS_TOKENS, useValue: tokens }],
      exports: [EventFeed, ACCESS_TOKENS],
    };
  }
}

/** The complete hub. */
@Module({})
export class HubModule {
  static forRoot(options: HubOptions): DynamicModule {
    return {
      module: HubModule,
      imports: [
        HubConfigModule.of(options.config, options.hubId),
        PostgresModule.forRoot({
          databaseUrl: options.databaseUrl,
          ownerUrl: options.databaseOwnerUrl,
          readModels: allReadModels,
          ...(options.lease === undefined ? {} : { lease: options.lease }),
        }),
        EventStoreModule.forRoot({ hubId: options.hubId, check: eventCheckOf(allProjections), eventStoreDb: eventStoreDbOf(options.config) }),
        SharedModule.forRoot(options.tokens),
        HostToolsModule,
        LocksModule,
        ProjectionsModule.forRoot(allProjections),
        CqrsModule.forRoot(),
        hubHttpModule({ seenCallsFile: join(options.config.dataDirectory, SEEN_CALLS_FILE) }),
        HealthModule,
        MetricsModule,
        StandbyModule,
        DomainMetricsModule,
        NodesModule,
        VmsModule,
        RepositoriesModule,
        CopiesModule,
        NbdPortsModule,
        NbdExportsModule,
        ChainsModule,
        BackupsModule,
        PoliciesModule,
        RestoreJobsModule,
        RestoreExportsModule,
        VerificationsModule,
        RestoreMountsModule,
        AuditModule,
        LedgerModule,
        TimeTravelModule,
        ReportsModule,
        ProjectionsAdminModule,
      ],
    };
  }
}

function eventStoreDbOf({ eventStore, eventstoredbUrl, eventstoredbCaFile }: HubConfig): EventStoreDbOptions | undefined {
  return eventStore === 'eventstoredb' && eventstoredbUrl !== null ? { url: eventstoredbUrl, caFile: eventstoredbCaFile } : undefined;
}
