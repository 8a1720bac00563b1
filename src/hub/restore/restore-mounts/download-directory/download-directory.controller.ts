import { Controller, Get, Param, Query, Req, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { attachment } from '../../../operations/http/attachment.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { Streams } from '../../../operations/http/stream-limits.js';
import { readerOf } from '../../../operations/http/request-reader.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { BrowserError } from '../../mounts/guest-browser/browser-protocol.js';
import { MountBrowser } from '../../mounts/mount-browser.js';
import { pathTextOf } from '../model/guest-file.response.js';
import { ApiGuestFileProblems } from '../model/guest-file-problems.decorator.js';
import { MountUses } from '../model/use-mount.access.js';
import { DownloadDirectoryQuery } from './download-directory.dto.js';
import { PresentOnly } from '../../../../lib/http/query.guard.js';

const MEDIA_TYPE = { zip: 'application/zip', 'tar.gz': 'application/gzip' } as const;

@ApiTags('file-level restore')
@Controller('restore')
export class DownloadDirectoryController {
  constructor(
    private readonly mounts: MountUses,
    private readonly browser: MountBrowser,
  ) {}

  @Get(':mount_id/download-directory')
  @PresentOnly()
  @Streams('download')
  @ApiOperation({
    summary: 'Download a directory in a mount as an archive',
    description:
      'Streams without staging anything on disk. Keeps names, modes, times and symbolic links, which are never followed. Devices, FIFOs, sockets and unreadable entries ' +
      'are left out and listed in `NOT-IN-THIS-ARCHIVE.txt` at the end of the archive. If the archive cannot be completed, the connection is closed.',
  })
  @ApiProduces(...Object.values(MEDIA_TYPE))
  @ApiOkResponse({
    description: 'The archive',
    content: Object.fromEntries(Object.values(MEDIA_TYPE).map((type) => [type, { schema: { type: 'string', format: 'binary', example: '(bytes)' } }])),
  })
  @ApiProblem(400, 'validation_failed', 'path_invalid', 'path_too_long')
  @ApiProblem(409, 'not_a_directory', 'link_loop', 'mount_not_ready')
  @ApiGuestFileProblems()
  async download(
    @Param('mount_id', UuidParam) mountId: string,
    @Query() query: DownloadDirectoryQuery,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    const text = pathTextOf(query);
    const { format } = query;
    const use = { mountId, reader: readerOf(request), operation: 'download_directory', path: text.path } as const;
    const download = await this.mounts.use(use, async (mount) => {
      const { mount_path, vm_name, disk_index } = mount;
      const folder = await this.browser.info(mount_path, { ...text, followed: true });
      if (folder.type !== 'directory') throw new BrowserError('not_a_directory', `${JSON.stringify(text.path)} is not a directory but of type ${folder.type}`);
      const name = folder.path === '/' ? `${vm_name}-disk${disk_index}` : folder.name;
      const bytes = request.method === 'HEAD' ? null : await this.browser.stream(mount_path, { ...text, kind: 'archive', format });
      const recorded = await this.mounts.recordDownload(use, mount, bytes, folder.path, { format });
      response.status(200).set({ 'Content-Type': MEDIA_TYPE[format], 'Content-Disposition': attachment(`${name}.${format}`) });
      return recorded;
    });
    await this.mounts.sendDownload(use, download, response);
  }
}
