import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { Controller, Get, Param, Req, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiOkResponse, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { DataSource } from 'typeorm';
import { VerificationReadModel } from '../../../../../projections/verifications/verifications.read-model.js';
import { RecordAccess, RecordAccessEnd } from '../../../history/audit/model/access.commands.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { messageOf } from '../../../../kernel/error-message.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { Streams } from '../../../operations/http/stream-limits.js';
import { readerOf } from '../../../operations/http/request-reader.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { BootArtefacts } from '../model/boot-artefacts.store.js';
import type { BootArtefact } from '../model/verification.events.js';
import { PresentOnly } from '../../../../lib/http/query.guard.js';

@ApiTags('backups')
@Controller('backups/:backup_id/verifications/:verification_id')
export class GetBootArtefactController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly artefacts: BootArtefacts,
    private readonly commands: CommandBus,
  ) {}

  @Get('console')
  @PresentOnly()
  @Streams('download')
  @ApiOperation({
    summary: 'Serial console output of the guest of a boot check',
    description: 'The raw output, including escape sequences. If the output is long, only its beginning and end are kept.',
  })
  @ApiProduces('text/plain')
  @ApiOkResponse({ description: 'The console output', schema: { type: 'string', example: 'Debian GNU/Linux 12 pgtest1 ttyS0\n\npgtest1 login:' } })
  @ApiProblem(404, 'verification_not_found', 'artefact_not_found')
  console(
    @Param('backup_id', UuidParam) backupId: string,
    @Param('verification_id', UuidParam) verificationId: string,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    return this.send(backupId, verificationId, 'console', request, response);
  }

  @Get('screenshot')
  @PresentOnly()
  @Streams('download')
  @ApiOperation({
    summary: "Screenshot of a boot check's guest, taken at the verdict",
    description: 'A PNG image, or PPM if the hypervisor produces nothing else.',
  })
  @ApiProduces('image/png', 'image/x-portable-pixmap')
  @ApiOkResponse({ description: 'The screenshot', schema: { type: 'string', format: 'binary', example: '(bytes)' } })
  @ApiProblem(404, 'verification_not_found', 'artefact_not_found')
  screenshot(
    @Param('backup_id', UuidParam) backupId: string,
    @Param('verification_id', UuidParam) verificationId: string,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    return this.send(backupId, verificationId, 'screenshot', request, response);
  }

  private async send(backupId: string, verificationId: string, name: BootArtefact['name'], request: Request, response: Response): Promise<void> {
    const row = await this.dataSource.getRepository(VerificationReadModel).findOneBy({ verification_id: verificationId, backup_id: backupId });
    if (row === null) {
      throw new DomainError('not_found', 'verification_not_found', `Backup ${backupId} has no verification ${verificationId}.`, {
        verification_id: verificationId,
      });
    }
    const artefact = row.boot?.artefacts.find((each) => each.name === name);
    const path = artefact === undefined ? null : this.artefacts.path(verificationId, artefact);
    const found = path === null ? null : await stat(path).catch(() => null);
    if (artefact === undefined || path === null || found === null) {
      throw new DomainError(
        'not_found',
        'artefact_not_found',
        `Verification ${verificationId} has no ${name}: ${row.boot?.screenshot_problem ?? 'the guest has not been booted'}.`,
      );
    }
    // nosniff: a browser must never interpret guest output as a page of ours.
    response.set({ 'Content-Type': artefact.media_type, 'Content-Length': String(found.size), 'X-Content-Type-Options': 'nosniff' });
    const reader = readerOf(request);
    const access = {
      operation: name === 'console' ? 'read_console' : 'read_screenshot',
      backup_id: backupId,
      vm_name: row.vm_name,
      mount_id: null,
      disk_index: null,
      path: null,
      resolved_path: null,
      options: { verification_id: verificationId },
    } as const;
    const accessId = await this.commands.execute(new RecordAccess(access, reader));
    const content = createReadStream(path);
    const ended = (outcome: 'completed' | 'cut', detail: string | null): Promise<void> =>
      this.commands.execute(new RecordAccessEnd(backupId, { access_id: accessId, bytes_sent: content.bytesRead, outcome, detail }, reader));
    try {
      await pipeline(content, response);
      await ended('completed', null);
    } catch (error) {
      await ended('cut', messageOf(error));
      throw error;
    }
  }
}
