import type { Projection } from '../src/hub/store/postgres/projection-definition.js';
import type { ReadModel } from '../src/hub/store/postgres/read-model-definition.js';
import { auditEventsProjection } from './audit-events/audit-events.projection.js';
import { AuditEventReadModel } from './audit-events/audit-events.read-model.js';
import { backupsProjection } from './backups/backups.projection.js';
import { BackupReadModel } from './backups/backups.read-model.js';
import { capacityMeasurementsProjection } from './capacity-measurements/capacity-measurements.projection.js';
import { CapacityMeasurementReadModel } from './capacity-measurements/capacity-measurements.read-model.js';
import { chainsProjection } from './chains/chains.projection.js';
import { ChainReadModel } from './chains/chains.read-model.js';
import { copiesProjection } from './copies/copies.projection.js';
import { CopyReadModel } from './copies/copies.read-model.js';
import { ledgerTilesProjection } from './ledger-tiles/ledger-tiles.projection.js';
import { LedgerTileReadModel } from './ledger-tiles/ledger-tiles.read-model.js';
import { nbdExportsProjection } from './nbd-exports/nbd-exports.projection.js';
import { NbdExportReadModel } from './nbd-exports/nbd-exports.read-model.js';
import { nbdPortsProjection } from './nbd-ports/nbd-ports.projection.js';
import { NbdPortReadModel } from './nbd-ports/nbd-ports.read-model.js';
import { nodesProjection } from './nodes/nodes.projection.js';
import { NodeReadModel } from './nodes/nodes.read-model.js';
import { pipelinesProjection } from './pipelines/pipelines.projection.js';
import { PipelineReadModel } from './pipelines/pipelines.read-model.js';
import { blackoutsProjection } from './blackouts/blackouts.projection.js';
import { BlackoutReadModel } from './blackouts/blackouts.read-model.js';
import { policiesProjection } from './policies/policies.projection.js';
import { PolicyReadModel } from './policies/policies.read-model.js';
import { policyOccurrencesProjection } from './policy-occurrences/policy-occurrences.projection.js';
import { PolicyOccurrenceReadModel } from './policy-occurrences/policy-occurrences.read-model.js';
import { policyRunVmsProjection } from './policy-run-vms/policy-run-vms.projection.js';
import { PolicyRunVmReadModel } from './policy-run-vms/policy-run-vms.read-model.js';
import { repositoriesProjection } from './repositories/repositories.projection.js';
import { RepositoryReadModel } from './repositories/repositories.read-model.js';
import { repositoryCapacityProjection } from './repository-capacity/repository-capacity.projection.js';
import { RepositoryCapacityReadModel } from './repository-capacity/repository-capacity.read-model.js';
import { repositoryPlacesProjection } from './repository-places/repository-places.projection.js';
import { RepositoryPlaceReadModel } from './repository-places/repository-places.read-model.js';
import { restoreExportsProjection } from './restore-exports/restore-exports.projection.js';
import { RestoreExportReadModel } from './restore-exports/restore-exports.read-model.js';
import { restoreJobsProjection } from './restore-jobs/restore-jobs.projection.js';
import { RestoreJobReadModel } from './restore-jobs/restore-jobs.read-model.js';
import { verificationsProjection } from './verifications/verifications.projection.js';
import { VerificationReadModel } from './verifications/verifications.read-model.js';
import { restoreMountsProjection } from './restore-mounts/restore-mounts.projection.js';
import { RestoreMountReadModel } from './restore-mounts/restore-mounts.read-model.js';
import { vmRpoProjection } from './vm-rpo/vm-rpo.projection.js';
import { VmRpoReadModel } from './vm-rpo/vm-rpo.read-model.js';
import { vmsProjection } from './vms/vms.projection.js';
import { VmReadModel } from './vms/vms.read-model.js';

/** Every projection the hub runs. */
export const allProjections: readonly Projection[] = [
  backupsProjection,
  chainsProjection,
  copiesProjection,
  vmsProjection,
  policiesProjection,
  blackoutsProjection,
  policyOccurrencesProjection,
  policyRunVmsProjection,
  pipelinesProjection,
  vmRpoProjection,
  repositoriesProjection,
  repositoryCapacityProjection,
  capacityMeasurementsProjection,
  repositoryPlacesProjection,
  nodesProjection,
  nbdPortsProjection,
  nbdExportsProjection,
  restoreJobsProjection,
  restoreExportsProjection,
  verificationsProjection,
  restoreMountsProjection,
  auditEventsProjection,
  ledgerTilesProjection,
];

/** Every read model, for the database. */
export const allReadModels: readonly ReadModel[] = [
  BackupReadModel,
  ChainReadModel,
  CopyReadModel,
  VmReadModel,
  PolicyReadModel,
  BlackoutReadModel,
  PolicyOccurrenceReadModel,
  PolicyRunVmReadModel,
  PipelineReadModel,
  VmRpoReadModel,
  RepositoryReadModel,
  RepositoryCapacityReadModel,
  CapacityMeasurementReadModel,
  RepositoryPlaceReadModel,
  NodeReadModel,
  NbdPortReadModel,
  NbdExportReadModel,
  RestoreJobReadModel,
  RestoreExportReadModel,
  VerificationReadModel,
  RestoreMountReadModel,
  AuditEventReadModel,
  LedgerTileReadModel,
];
