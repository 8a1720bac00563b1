import { Body, Controller, HttpCode, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiAcceptedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiAsksNode, ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { StartBackup } from '../model/backup.commands.js';
import { type BackupOptions, DEFAULT_BACKUP_OPTIONS } from '../model/backup.events.js';
import { BackupResponse, toBackupResponse } from '../model/backup.response.js';
import { FAILURE_CODES } from './start-backup.handler.js';
import { StartBackupRequest } from './start-backup.dto.js';

@ApiTags('backups')
@Controller('backups')
export class StartBackupController {
  constructor(
    private readonly commands: CommandBus,
    private readonly dataSource: DataSource,
  ) {}

  @Post()
  @HttpCode(202)
  @ApiOperation({
    summary: 'Back up a whole VM',
    description:
      'Responds once the export of every disk is ready, or at once with status `pending` if the backup has to wait for its VM, for a place or for ports. `incremental` is refused if it is not possible; `auto` then makes a full and gives the reason.',
  })
  @ApiAcceptedResponse({ type: BackupResponse, description: 'The backup in its current state' })
  @ApiProblem(400, 'vm_ambiguous', 'source_unknown')
  @ApiProblem(404, 'vm_not_found', 'repository_not_found', 'node_not_found', 'policy_not_found')
  @ApiProblem(
    409,
    'nbd_ports_demand_too_large',
    'incremental_impossible',
    'disk_in_use',
    'vm_not_found_at_node',
    'repository_not_found',
    'disk_resized',
    'change_id_lost',
    'libvirt_not_configured',
    'source_unknown',
    'disk_unreadable',
    'disk_corrupt',
    'disk_outside_root',
    'disk_format_changed',
    'format_unsupported',
    'backing_file_refused',
    'parent_missing',
    'parent_truncated',
    'parent_altered',
    'export_exited',
    'export_killed',
    'internal_error',
  )
  @ApiAsksNode()
  @ApiProblem(503, 'source_silent', ...FAILURE_CODES.unavailable)
  @ApiProblem(507, ...FAILURE_CODES.storage_full)
  async start(@Body() body: StartBackupRequest, @Context() context: CommandContext, @Res({ passthrough: true }) response: Response): Promise<BackupResponse> {
    const backup_id = await this.commands.execute(new StartBackup(vmOf(body), body.repository_id, body.backup_type, policyOf(body), optionsOf(body), context));
    const row = await this.dataSource.getRepository(BackupReadModel).findOneByOrFail({ backup_id });
    answerPosition(response, row.position);
    response.location(`/api/v1/backups/${row.backup_id}`);
    return toBackupResponse(row);
  }
}

function policyOf({ policy_id }: StartBackupRequest): StartBackup['policy'] {
  return policy_id === undefined || policy_id === null ? null : { policy_id, version: null };
}

function optionsOf(body: StartBackupRequest): BackupOptions {
  return {
    quiesce: body.quiesce ?? DEFAULT_BACKUP_OPTIONS.quiesce,
    bandwidth_limit_bps: body.bandwidth_limit_bps ?? DEFAULT_BACKUP_OPTIONS.bandwidth_limit_bps,
  };
}

function vmOf(body: StartBackupRequest): StartBackup['vm'] {
  if (body.vm_id !== undefined && body.vm_name === undefined) return { vm_id: body.vm_id.toLowerCase() };
  if (body.vm_name !== undefined && body.vm_id === undefined) return { vm_name: body.vm_name };
  throw new DomainError('invalid', 'vm_ambiguous', 'Give exactly one of vm_name and vm_id.', { fields: ['vm_name', 'vm_id'] });
}
