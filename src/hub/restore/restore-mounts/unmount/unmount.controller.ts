import { Controller, Delete, HttpCode, Param, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiNoContentResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { ReleaseMount } from '../model/restore-mount.commands.js';

@ApiTags('file-level restore')
@Controller('restore')
export class UnmountController {
  constructor(private readonly commands: CommandBus) {}

  @Delete(':mount_id')
  @HttpCode(204)
  @ApiOperation({
    summary: 'Unmount a disk',
    description: 'Ends running downloads from it. Repeating the request is harmless. Answers when nothing of the mount is left.',
  })
  @ApiNoContentResponse({ description: 'Unmounted' })
  @ApiProblem(404, 'mount_not_found')
  @ApiProblem(409, 'mount_not_removed', 'command_in_progress')
  async unmount(
    @Param('mount_id', UuidParam) mountId: string,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<void> {
    answerPosition(response, await this.commands.execute(new ReleaseMount(mountId, context)));
  }
}
