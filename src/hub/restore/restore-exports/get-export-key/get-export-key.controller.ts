import { Controller, Get, Header, Param } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { RestoreExportReadModel } from '../../../../../projections/restore-exports/restore-exports.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { HubConfig } from '../../../hub.config.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { readExportKey } from '../../../exports/nbd-servers/export-access.js';
import { pskFileText } from '../../../../lib/nbd/nbd-uri.js';
import { PresentOnly } from '../../../../lib/http/query.guard.js';

export class ExportKeyResponse {
  /**
   * The only line of the key file: `tls-psk-file` for libnbd, `keys.psk` in the directory of `tls-creds-psk` for qemu
   * @example "sendense:<64 hexadecimal digits>"
   */
  readonly psk_file!: string;
}

@ApiTags('restore')
@Controller('restore/exports')
export class GetExportKeyController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly config: HubConfig,
  ) {}

  @Get(':export_id/key')
  @PresentOnly()
  @Header('Cache-Control', 'no-store')
  @ApiOperation({
    summary: 'Get the key required to connect to an export',
    description: 'Anyone with the key can read the disk and write to a `read_write` export. Keep it in a file with mode 0600 and out of command lines.',
  })
  @ApiOkResponse({ type: ExportKeyResponse, description: 'The key' })
  @ApiProblem(404, 'restore_export_not_found')
  @ApiProblem(409, 'restore_export_not_running')
  async key(@Param('export_id', UuidParam) exportId: string): Promise<ExportKeyResponse> {
    const row = await this.dataSource.getRepository(RestoreExportReadModel).findOneBy({ export_id: exportId });
    if (row === null) throw new DomainError('not_found', 'restore_export_not_found', `Export ${exportId} does not exist.`, { export_id: exportId });
    const key = row.status === 'running' ? await readExportKey(this.config.runDirectory, exportId) : null;
    if (key === null) {
      throw new DomainError('conflict', 'restore_export_not_running', `Export ${exportId} is ${row.status} and has no key.`, { export_id: exportId });
    }
    return { psk_file: pskFileText(key).trimEnd() };
  }
}
