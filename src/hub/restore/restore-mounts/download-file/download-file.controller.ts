import { Controller, Get, Param, Query, Req, Res } from '@nestjs/common';
import { ApiHeader, ApiOkResponse, ApiOperation, ApiProduces, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { attachment } from '../../../operations/http/attachment.js';
import { byteRangeOf } from '../../../operations/http/byte-range.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { Streams } from '../../../operations/http/stream-limits.js';
import { readerOf } from '../../../operations/http/request-reader.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { BrowserError } from '../../mounts/guest-browser/browser-protocol.js';
import { MountBrowser } from '../../mounts/mount-browser.js';
import { GuestPathQuery, pathTextOf } from '../model/guest-file.response.js';
import { ApiGuestFileProblems } from '../model/guest-file-problems.decorator.js';
import { MountUses } from '../model/use-mount.access.js';
import { PresentOnly } from '../../../../lib/http/query.guard.js';

const BINARY = 'application/octet-stream';

@ApiTags('file-level restore')
@Controller('restore')
export class DownloadFileController {
  constructor(
    private readonly mounts: MountUses,
    private readonly browser: MountBrowser,
  ) {}

  @Get(':mount_id/download')
  @PresentOnly()
  @Streams('download')
  @ApiOperation({
    summary: 'Download a file in a mount',
    description:
      'Links are followed within the file system and never lead out of it. A single `Range` is supported, so an interrupted download can resume. ' +
      'If a file cannot be read to its end, the connection is closed, so that a part is never mistaken for the whole.',
  })
  @ApiProduces(BINARY)
  @ApiHeader({ name: 'Range', required: false, description: 'A single byte range', schema: { type: 'string' }, example: 'bytes=0-1023' })
  @ApiOkResponse({
    description: 'The whole file',
    content: { [BINARY]: { schema: { type: 'string', format: 'binary', example: 'root:x:0:0:root:/root:/bin/bash' } } },
  })
  @ApiResponse({ status: 206, description: 'The requested range', content: { [BINARY]: { schema: { type: 'string', format: 'binary', example: 'root' } } } })
  @ApiProblem(400, 'validation_failed', 'path_invalid', 'path_too_long')
  @ApiProblem(409, 'not_a_regular_file', 'not_a_directory', 'link_loop', 'mount_not_ready')
  @ApiProblem(416, 'range_not_satisfiable')
  @ApiGuestFileProblems()
  async download(
    @Param('mount_id', UuidParam) mountId: string,
    @Query() query: GuestPathQuery,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    const text = pathTextOf(query);
    const use = { mountId, reader: readerOf(request), operation: 'download', path: text.path } as const;
    const download = await this.mounts.use(use, async (mount) => {
      const { mount_path } = mount;
      const file = await this.browser.info(mount_path, { ...text, followed: true });
      if (file.type !== 'file') throw new BrowserError('not_a_regular_file', `${JSON.stringify(text.path)} is not a regular file but of type ${file.type}`);
      const modified = file.modified_time === null ? null : new Date(file.modified_time).toUTCString();
      const resumes = request.headers['if-range'] === undefined || request.headers['if-range'] === modified;
      const range = resumes ? byteRangeOf(request.headers.range, file.size) : null;
      const { start, length } = range ?? { start: 0, length: file.size };
      // The requested name: for a link its own, not that of its target.
      const name = text.path.split('/').findLast((part) => part !== '' && part !== '.') ?? file.name;
      const headers = {
        'Content-Type': BINARY,
        'Content-Length': String(length),
        'Content-Disposition': attachment(name),
        'Accept-Ranges': 'bytes',
        ...(modified === null ? {} : { 'Last-Modified': modified }),
        ...(range === null ? {} : { 'Content-Range': `bytes ${start}-${start + length - 1}/${file.size}` }),
      };
      const bytes = request.method === 'HEAD' || length === 0 ? null : await this.browser.stream(mount_path, { ...text, kind: 'file', start, length });
      const options: Readonly<Record<string, string>> = range === null ? {} : { range: `${start}-${start + length - 1}` };
      const recorded = await this.mounts.recordDownload(use, mount, bytes, file.path, options);
      response.status(range === null ? 200 : 206).set(headers);
      return recorded;
    });
    await this.mounts.sendDownload(use, download, response);
  }
}
