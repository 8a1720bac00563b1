import { Body, Controller, HttpCode, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiCreatedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { RequestMount } from '../model/restore-mount.commands.js';
import { RestoreMountResponse, toNewMountResponse } from '../model/restore-mount.response.js';
import { RequestMountDto } from './request-mount.dto.js';

@ApiTags('file-level restore')
@Controller('restore/mount')
export class RequestMountController {
  constructor(private readonly commands: CommandBus) {}

  @Post()
  @HttpCode(201)
  @ApiOperation({
    summary: 'Mount a disk of a restore point for browsing',
    description:
      'Mounts read-only, without replaying a journal. Works for any restore point of a chain, even while newer backups run. Answers when the mount is ready: within a second ' +
      'with the fast drivers, after half a minute or more with the sandbox. The mount is removed after an idle hour; each use extends that.',
  })
  @ApiCreatedResponse({ type: RestoreMountResponse })
  @ApiProblem(404, 'backup_not_found', 'disk_not_found', 'partition_not_found', 'copy_not_found')
  @ApiProblem(
    409,
    'disk_already_mounted',
    'restore_point_not_ready',
    'restore_point_damaged',
    'restore_point_unsafe',
    'restore_point_unreadable',
    'command_in_progress',
  )
  @ApiProblem(410, 'restore_point_deleted', 'mount_released')
  @ApiProblem(422, 'filesystem_not_found', 'filesystem_encrypted', 'filesystem_unsupported', 'filesystem_damaged', 'idempotency_key_reused')
  @ApiProblem(
    503,
    'mount_slots_exhausted',
    'mount_driver_unavailable',
    'mount_failed',
    'mount_interrupted',
    'repository_unavailable',
    'restore_point_being_checked',
    'restore_point_being_rewritten',
  )
  @ApiProblem(504, 'mount_timed_out')
  async mount(
    @Body() body: RequestMountDto,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<RestoreMountResponse> {
    const outcome = await this.commands.execute(
      new RequestMount(
        body.backup_id.toLowerCase(),
        body.disk_index,
        body.partition ?? null,
        body.allow_damaged ?? false,
        body.repository_id?.toLowerCase() ?? null,
        context,
      ),
    );
    answerPosition(response, outcome.position);
    response.set('Location', `/api/v1/restore/${outcome.request.mount_id}/files`);
    return toNewMountResponse(outcome);
  }
}
