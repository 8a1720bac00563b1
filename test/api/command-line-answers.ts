/** Compile-time comparison of what the command line expects in answers with what the hub's controllers answer. */
import type * as cli from '../../src/cli/api/answers.js';
import type { BackupResponse, BackupWithCopiesResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { OccurrenceResponse } from '../../src/hub/backup/policies/model/occurrence.response.js';
import type { PolicyResponse } from '../../src/hub/backup/policies/model/policy.response.js';
import type { PolicyPreviewResponse } from '../../src/hub/backup/policies/preview-policy/preview-policy.dto.js';
import type { PolicySimulationResponse } from '../../src/hub/backup/policies/simulate-policy/simulate-policy.dto.js';
import type { WhatIfResponse } from '../../src/hub/backup/policies/what-if/what-if.dto.js';
import type { VerificationResponse } from '../../src/hub/backup/verifications/model/verification.response.js';
import type { VmPruningResponse } from '../../src/hub/backup/chains/prune-chain/prune-chain.dto.js';
import type { VmResponse } from '../../src/hub/backup/vms/model/vm.response.js';
import type { NbdPortMetricsResponse, NbdPortResponse } from '../../src/hub/exports/nbd-ports/list-ports/list-ports.dto.js';
import type { AuditEventResponse } from '../../src/hub/history/audit/audit-event.response.js';
import type { ReportResponse } from '../../src/hub/history/reports/model/report.dto.js';
import type { HistoryDiffResponse } from '../../src/hub/history/time-travel/diff/diff.dto.js';
import type { ExplanationResponse } from '../../src/hub/history/time-travel/explain/explain.dto.js';
import type { NodeResponse } from '../../src/hub/nodes/nodes/model/node.response.js';
import type { RegisteredNodeDto } from '../../src/hub/nodes/nodes/register-node/register-node.dto.js';
import type { ReadinessDto } from '../../src/hub/operations/health/health.dto.js';
import type { StreamEventResponse } from '../../src/hub/operations/http/event-history.js';
import type { HubRoleDto } from '../../src/hub/operations/http/hub-role.dto.js';
import type { ProjectionStatusResponse } from '../../src/hub/operations/projections-admin/projection-status.response.js';
import type { RepositoryCapacityDto } from '../../src/hub/repositories/repositories/get-capacity/get-capacity.dto.js';
import type { RepositoryImportDto } from '../../src/hub/repositories/repositories/import-repository/import-repository.controller.js';
import type { RepositoryTestDto } from '../../src/hub/repositories/repositories/test-repository/test-repository.dto.js';
import type { RepositoryStorageDto } from '../../src/hub/repositories/repositories/measure-storage/measure-storage.dto.js';
import type { RepositoryResponse } from '../../src/hub/repositories/repositories/model/repository.response.js';
import type { CopyResponse } from '../../src/hub/repositories/copies/model/copy.response.js';
import type { RestoreJobResponse } from '../../src/hub/restore/restore-jobs/model/restore-job.response.js';
import type { RestoreExportResponse } from '../../src/hub/restore/restore-exports/model/restore-export.response.js';
import type { GuestFileResponse } from '../../src/hub/restore/restore-mounts/model/guest-file.response.js';
import type { FileListDto } from '../../src/hub/restore/restore-mounts/list-files/list-files.dto.js';
import type { RestoreMountResponse } from '../../src/hub/restore/restore-mounts/model/restore-mount.response.js';
import type { ResourcesDto } from '../../src/hub/restore/restore-mounts/get-resources/get-resources.dto.js';

type Holds<Expected, Answered extends Expected> = Answered;

export type Compared = [
  Holds<cli.Backup, BackupResponse>,
  Holds<cli.BackupWithCopies, BackupWithCopiesResponse>,
  Holds<cli.Verification, VerificationResponse>,
  Holds<cli.Copy, CopyResponse>,
  Holds<cli.Vm, VmResponse>,
  Holds<cli.VmPruning, VmPruningResponse>,
  Holds<cli.Policy, PolicyResponse>,
  Holds<cli.PolicySimulation, PolicySimulationResponse>,
  Holds<cli.PolicyWhatIf, WhatIfResponse>,
  Holds<cli.PolicyPreview, PolicyPreviewResponse>,
  Holds<cli.Occurrence, OccurrenceResponse>,
  Holds<cli.NbdPort, NbdPortResponse>,
  Holds<cli.NbdPool, NbdPortMetricsResponse>,
  Holds<cli.AuditEvent, AuditEventResponse>,
  Holds<cli.StoredEvent, StreamEventResponse>,
  Holds<cli.Node, NodeResponse>,
  Holds<Partial<cli.Pairing>, RegisteredNodeDto>,
  Holds<cli.Readiness, ReadinessDto>,
  Holds<cli.HubRole, HubRoleDto>,
  Holds<cli.Projection, ProjectionStatusResponse>,
  Holds<cli.RepositoryImport, RepositoryImportDto>,
  Holds<cli.RepositoryStorage, RepositoryStorageDto>,
  Holds<cli.Repository, RepositoryResponse>,
  Holds<cli.RepositoryTest, RepositoryTestDto>,
  Holds<cli.RepositoryCapacity, RepositoryCapacityDto>,
  Holds<cli.Mount, RestoreMountResponse>,
  Holds<cli.GuestFile, GuestFileResponse>,
  Holds<cli.GuestFiles, FileListDto>,
  Holds<cli.RestoreJob, RestoreJobResponse>,
  Holds<cli.RestoreExport, RestoreExportResponse>,
  Holds<cli.MountDrivers, ResourcesDto>,
  Holds<cli.HistoryDiff, HistoryDiffResponse>,
  Holds<cli.HistoryExplanation, ExplanationResponse>,
  Holds<cli.Report, ReportResponse>,
];
