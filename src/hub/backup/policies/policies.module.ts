import { Module } from '@nestjs/common';
import { RepositoryFilesModule } from '../../repositories/repository-storage/repository-files.module.js';
import { RegisterLockModule } from '../../store/register-lock/register-lock.module.js';
import { ApplyRetentionReactor } from './apply-retention/apply-retention.reactor.js';
import { CreatePolicyController } from './create-policy/create-policy.controller.js';
import { CreatePolicyHandler } from './create-policy/create-policy.handler.js';
import { DeletePolicyController } from './delete-policy/delete-policy.controller.js';
import { DeletePolicyHandler } from './delete-policy/delete-policy.handler.js';
import { EditPolicyController } from './edit-policy/edit-policy.controller.js';
import { EditPolicyHandler } from './edit-policy/edit-policy.handler.js';
import { GetPolicyController } from './get-policy/get-policy.controller.js';
import { KeepBlackoutsController } from './keep-blackouts/keep-blackouts.controller.js';
import { KeepBlackouts } from './keep-blackouts/keep-blackouts.service.js';
import { ListOccurrencesController } from './list-occurrences/list-occurrences.controller.js';
import { ListPoliciesController } from './list-policies/list-policies.controller.js';
import { ExpireCopiesReactor } from './expire-copies/expire-copies.reactor.js';
import { AwaitedCopiesReader } from './model/awaited-copies.reader.js';
import { CopyRetentionReader } from './model/copy-retention.reader.js';
import { OccurrenceReader } from './model/occurrence.reader.js';
import { OccurrenceRecorder } from './model/occurrence.recorder.js';
import { PipelineRecorder } from './model/pipeline.recorder.js';
import { RetentionReader } from './model/retention.reader.js';
import { RunEndRecorder } from './model/run-end.recorder.js';
import { RunFactsReader } from './model/run-facts.reader.js';
import { RpoRecorder } from './model/rpo.recorder.js';
import { PolicyQueriesModule } from './policy-queries.module.js';
import { PreviewPolicyController } from './preview-policy/preview-policy.controller.js';
import { LateCopiesHealth } from './request-copies/late-copies.health-checks.js';
import { RequestCopiesReactor } from './request-copies/request-copies.reactor.js';
import { RunOccurrenceReactor } from './run-occurrence/run-occurrence.reactor.js';
import { RunPipelinesReactor } from './run-pipelines/run-pipelines.reactor.js';
import { RunPoliciesService } from './run-policies/run-policies.service.js';
import { RunPolicyController } from './run-policy/run-policy.controller.js';
import { RunPolicyHandler } from './run-policy/run-policy.handler.js';
import { SimulatePolicyController } from './simulate-policy/simulate-policy.controller.js';
import { WatchRpoService } from './watch-rpo/watch-rpo.service.js';
import { WhatIfController } from './what-if/what-if.controller.js';
import { WhatIfReader } from './what-if/what-if.reader.js';

@Module({
  imports: [PolicyQueriesModule, RegisterLockModule, RepositoryFilesModule],
  controllers: [
    ListPoliciesController,
    GetPolicyController,
    CreatePolicyController,
    EditPolicyController,
    DeletePolicyController,
    PreviewPolicyController,
    SimulatePolicyController,
    WhatIfController,
    ListOccurrencesController,
    RunPolicyController,
    KeepBlackoutsController,
  ],
  providers: [
    CreatePolicyHandler,
    EditPolicyHandler,
    DeletePolicyHandler,
    RunPolicyHandler,
    KeepBlackouts,
    RunFactsReader,
    RetentionReader,
    AwaitedCopiesReader,
    CopyRetentionReader,
    RequestCopiesReactor,
    ExpireCopiesReactor,
    LateCopiesHealth,
    WhatIfReader,
    ApplyRetentionReactor,
    OccurrenceReader,
    OccurrenceRecorder,
    PipelineRecorder,
    RunPipelinesReactor,
    RunEndRecorder,
    RunPoliciesService,
    RunOccurrenceReactor,
    RpoRecorder,
    WatchRpoService,
  ],
})
export class PoliciesModule {}
