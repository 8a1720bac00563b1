import { Body, Controller, HttpCode, Param, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiAcceptedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { DataSource } from 'typeorm';
import { VerificationReadModel } from '../../../../../projections/verifications/verifications.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { StartVerification } from '../model/verification.commands.js';
import { HealRestorePointRequest, StartVerificationRequest, wantedBoot } from './start-verification.dto.js';
import { toVerificationResponse, VerificationResponse } from '../model/verification.response.js';

@ApiTags('backups')
@Controller('backups')
export class StartVerificationController {
  constructor(
    private readonly commands: CommandBus,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
  ) {}

  @Post(':backup_id/verify')
  @HttpCode(202)
  @ApiOperation({
    summary: 'Verify a restore point and everything it depends on',
    description:
      'Responds at once; GET /backups/{backup_id}/verifications has the verdict. Every file is read and hashed; images, parents and manifests are checked. A damaged restore point and those that depend on it are marked in their chain, and the next backup of the VM is a full with that reason. With `boot`, a node then starts a sound restore point on a throwaway overlay, without any network, until it gives a sign of life. If the guest does not boot, the verification fails without a finding, because the files are sound.',
  })
  @ApiAcceptedResponse({ type: VerificationResponse, description: 'The verification' })
  @ApiProblem(400, 'validation_failed', 'sign_of_life_missing')
  @ApiProblem(404, 'backup_not_found', 'repository_not_found', 'copy_not_found', 'node_not_found')
  @ApiProblem(409, 'backup_not_verifiable', 'restore_point_not_in_chain', 'definition_missing', 'manifest_differs')
  @ApiProblem(410, 'restore_point_missing')
  @ApiProblem(503, 'repository_unavailable', 'restore_point_being_rewritten', 'read_model_behind')
  async start(
    @Param('backup_id', UuidParam) backupId: string,
    @Body() body: StartVerificationRequest,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<VerificationResponse> {
    const command = new StartVerification(backupId, wantedBoot(body), context, body.repository_id?.toLowerCase() ?? null);
    return this.started(command, response);
  }

  @Post(':backup_id/heal')
  @HttpCode(202)
  @ApiOperation({
    summary: 'Heal a damaged restore point from another place that holds it',
    description:
      'Verifies the restore point and everything it depends on, in one repository. A damaged file is written again next to the damaged one, from its sound blocks of 4 MiB and those of other repositories that hold the same file, each compared with its sealed digest; it is read back and replaces the damaged one. Then everything is read again: what is sound is no longer marked as damaged. Responds at once; GET /backups/{backup_id}/verifications shows what was healed and from where, and what could not be healed.',
  })
  @ApiAcceptedResponse({ type: VerificationResponse, description: 'The verification that heals' })
  @ApiProblem(400, 'validation_failed')
  @ApiProblem(404, 'backup_not_found', 'repository_not_found', 'copy_not_found')
  @ApiProblem(409, 'backup_not_verifiable', 'restore_point_not_in_chain')
  @ApiProblem(503, 'repository_unavailable', 'restore_point_being_rewritten', 'read_model_behind')
  heal(
    @Param('backup_id', UuidParam) backupId: string,
    @Body() body: HealRestorePointRequest,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<VerificationResponse> {
    return this.started(new StartVerification(backupId, null, context, body.repository_id?.toLowerCase() ?? null, true), response);
  }

  private async started(command: StartVerification, response: Response): Promise<VerificationResponse> {
    const { verification_id, position } = await this.commands.execute(command);
    await this.readModels.waitFor(position, 'verifications');
    answerPosition(response, position);
    response.location(`/api/v1/backups/${command.backupId}/verifications`);
    return toVerificationResponse(await this.dataSource.getRepository(VerificationReadModel).findOneByOrFail({ verification_id }));
  }
}
