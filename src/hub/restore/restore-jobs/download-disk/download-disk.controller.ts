import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Controller, Get, Param, Query, Req, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiOkResponse, ApiOperation, ApiParam, ApiProduces, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { refuseDamaged, repositoryOf, restorePointAt, sourcesOf } from '../../../backup/backups/model/restore-points.reader.js';
import { RecordAccess, RecordAccessEnd } from '../../../history/audit/model/access.commands.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { messageOf } from '../../../../kernel/error-message.js';
import { ToolError } from '../../../../lib/process/tool-error.js';
import { attachment } from '../../../operations/http/attachment.js';
import { byteRangeOf } from '../../../operations/http/byte-range.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { Streams } from '../../../operations/http/stream-limits.js';
import { readerOf } from '../../../operations/http/request-reader.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { WholeNumberParam } from '../../../operations/http/whole-number-param.pipe.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { restoredFileName } from '../../../../lib/qemu/disk-copy.plan.js';
import type { ImageChain } from '../../../../lib/qemu/image-chain.plan.js';
import { qcow2Download, rawDownload } from '../../downloads/disk-download.js';
import { ChainGuard, REQUEST_PATIENCE_MS } from '../../../repositories/repository-storage/chain-guard.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { DownloadDiskQuery } from './download-disk.dto.js';
import { PresentOnly } from '../../../../lib/http/query.guard.js';

@ApiTags('restore')
@Controller('backups')
export class DownloadDiskController {
  private readonly log = loggerFor('DownloadDisk');

  constructor(
    private readonly dataSource: DataSource,
    private readonly files: RepositoryFiles,
    private readonly commands: CommandBus,
    private readonly guard: ChainGuard,
  ) {}

  @Get(':backup_id/disks/:disk_id/download')
  @PresentOnly()
  @Streams('download')
  @ApiOperation({
    summary: 'Download the content of a disk',
    description:
      'Streams without staging anything on disk. A single Range is supported, so an interrupted download can resume. A connection that ends early means that the rest could not be read. ' +
      'A qcow2 download is one file without a backing file; holes and zeroes are omitted.',
  })
  @ApiParam({ name: 'disk_id', example: 0, schema: { type: 'integer' } })
  @ApiProduces('application/octet-stream')
  @ApiOkResponse({ description: 'The content', schema: { type: 'string', format: 'binary', example: '(bytes)' } })
  @ApiResponse({ status: 206, description: 'The requested range', schema: { type: 'string', format: 'binary', example: '(bytes)' } })
  @ApiProblem(404, 'backup_not_found', 'restore_disk_not_found', 'repository_not_found', 'copy_not_found')
  @ApiProblem(409, 'backup_not_restorable', 'restore_point_damaged', 'restore_point_unsafe')
  @ApiProblem(416, 'range_not_satisfiable')
  @ApiProblem(503, 'repository_unavailable', 'restore_point_being_checked', 'restore_point_being_rewritten', 'tool_failed', 'tool_missing', 'tool_timeout')
  async download(
    @Param('backup_id', UuidParam) backupId: string,
    @Param('disk_id', WholeNumberParam) diskId: number,
    @Query() query: DownloadDiskQuery,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    const { chain, size, vmName } = await this.locate(backupId, diskId, query);
    const left = new AbortController();
    response.once('close', () => left.abort(new Error('the client closed the connection')));
    const disk = query.format === 'raw' ? rawDownload(chain, size) : await qcow2Download(chain, size, left.signal).catch(refuseUnread);
    const range = byteRangeOf(request.headers.range, disk.bytes);
    const { start, length } = range ?? { start: 0, length: disk.bytes };
    const reader = readerOf(request);
    const access = {
      operation: 'download_disk',
      backup_id: backupId,
      vm_name: vmName,
      mount_id: null,
      disk_index: diskId,
      path: null,
      resolved_path: null,
      options: { format: query.format, ...(range === null ? {} : { range: `${start}-${start + length - 1}` }) },
    } as const;
    const accessId = await this.commands.execute(new RecordAccess(access, reader));
    let sent = 0;
    const ended = (outcome: 'completed' | 'cut', detail: string | null): Promise<void> =>
      this.commands.execute(new RecordAccessEnd(backupId, { access_id: accessId, bytes_sent: sent, outcome, detail }, reader));
    response.status(range === null ? 200 : 206).set({
      'Accept-Ranges': 'bytes',
      'Content-Type': 'application/octet-stream',
      'Content-Length': String(length),
      'Content-Disposition': attachment(restoredFileName(vmName, diskId, query.format)),
      ...(range === null ? {} : { 'Content-Range': `bytes ${start}-${start + length - 1}/${disk.bytes}` }),
    });
    if (request.method === 'HEAD' || length === 0) {
      response.end();
      await ended('completed', null);
      return;
    }
    const content = Readable.from(disk.read(start, length, left.signal), { objectMode: false });
    content.on('data', (chunk: Uint8Array) => (sent += chunk.length));
    try {
      await pipeline(content, response, { end: false });
      response.end();
      await ended('completed', null);
    } catch (error) {
      // Content-Length is already sent, so closing the connection is the only way to signal that the content is incomplete.
      if (!left.signal.aborted) this.log.warn('download cut short: the disk could not be read to its end', { file: chain.at(-1), error });
      sent -= response.writableLength;
      response.destroy();
      await ended('cut', left.signal.aborted ? 'the client closed the connection' : messageOf(error));
    }
  }

  private async locate(
    backupId: string,
    diskId: number,
    { allow_damaged: allowDamaged, repository_id }: DownloadDiskQuery,
  ): Promise<{ readonly chain: ImageChain; readonly size: number; readonly vmName: string }> {
    const found = await this.dataSource.getRepository(BackupReadModel).findOneBy({ backup_id: backupId });
    if (found === null) throw new DomainError('not_found', 'backup_not_found', `Backup ${backupId} does not exist.`, { backup_id: backupId });
    const backup = await restorePointAt(this.dataSource, this.files, found, { repositoryId: repository_id?.toLowerCase() ?? null, allowDamaged });
    if (backup.status !== 'completed') {
      throw new DomainError('conflict', 'backup_not_restorable', `Backup ${backupId} is ${backup.status}. Only a completed backup can be downloaded.`, {
        status: backup.status,
      });
    }
    refuseDamaged(backup, allowDamaged);
    const disk = backup.disks.find(({ disk_id }) => disk_id === diskId);
    if (disk === undefined)
      throw new DomainError(
        'not_found',
        'restore_disk_not_found',
        `Backup ${backupId} has no disk ${diskId}. It has ${backup.disks.length} disks, numbered from 0.`,
      );
    const repository = await repositoryOf(this.dataSource, backup);
    await this.files.checkPresent(repository.repository_id, repository.path);
    const sources = (await sourcesOf(this.dataSource, backup))(diskId);
    const chain = await this.guard.open(repository.path, sources, { allowDamaged, patienceMs: REQUEST_PATIENCE_MS });
    return { chain, size: disk.virtual_size_bytes, vmName: backup.vm_name };
  }
}

/** @throws DomainError when a tool could not read the disk; rethrows any other error */
function refuseUnread(error: unknown): never {
  throw error instanceof ToolError ? new DomainError('unavailable', error.code, `The disk cannot be read: ${error.message}`) : error;
}
