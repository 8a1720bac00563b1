import { Controller, Delete, HttpCode, Param, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiNoContentResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { EndRestoreExport } from '../model/restore-export.commands.js';

@ApiTags('restore')
@Controller('restore/exports')
export class EndRestoreExportController {
  constructor(private readonly commands: CommandBus) {}

  @Delete(':export_id')
  @HttpCode(204)
  @ApiOperation({ summary: 'End an export and discard the data written to it' })
  @ApiNoContentResponse({ description: 'Ended' })
  @ApiProblem(404, 'restore_export_not_found')
  @ApiProblem(409, 'restore_export_held')
  async end(
    @Param('export_id', UuidParam) exportId: string,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<void> {
    answerPosition(response, await this.commands.execute(new EndRestoreExport(exportId, context)));
  }
}
