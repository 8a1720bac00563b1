import { Body, Controller, HttpCode, Param, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { PruneChains } from '../model/chain.commands.js';
import { PruneVmDto, VmPruningResponse } from './prune-chain.dto.js';

@ApiTags('backups')
@Controller('vms')
export class PruneChainController {
  constructor(private readonly commands: CommandBus) {}

  @Post(':id/prune')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Remove restore points, also from the middle of a chain',
    description:
      'Restore points that depend on them keep their content: they get new files first, each compared with the old ones. The answer is the plan; the work follows, and waits while files of the chain are mounted, restored, exported, verified or backed up to. `GET /backups/chain` shows its progress.',
  })
  @ApiParam({ name: 'id', example: '0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b' })
  @ApiOkResponse({ type: VmPruningResponse })
  @ApiProblem(400, 'validation_failed')
  @ApiProblem(404, 'vm_not_found', 'backup_not_found', 'repository_not_found')
  @ApiProblem(409, 'restore_point_not_ready', 'restore_point_not_in_chain', 'restore_point_held', 'restore_point_pinned', 'restore_point_locked')
  @ApiProblem(503, 'repository_unavailable', 'read_model_behind')
  @ApiProblem(507, 'prune_needs_space')
  async prune(
    @Param('id', UuidParam) id: string,
    @Body() { remove, dry_run = false }: PruneVmDto,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<VmPruningResponse> {
    const { chains, position } = await this.commands.execute(new PruneChains(id, remove, dry_run, context));
    answerPosition(response, position);
    return { dry_run, chains, position };
  }
}
