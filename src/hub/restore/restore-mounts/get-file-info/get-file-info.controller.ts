import { Controller, Get, Param, Query, Req } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Request } from 'express';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { readerOf } from '../../../operations/http/request-reader.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { MountBrowser } from '../../mounts/mount-browser.js';
import { GuestFileResponse, GuestPathQuery, pathTextOf } from '../model/guest-file.response.js';
import { ApiGuestFileProblems } from '../model/guest-file-problems.decorator.js';
import { MountUses } from '../model/use-mount.access.js';
import { PresentOnly } from '../../../../lib/http/query.guard.js';

@ApiTags('file-level restore')
@Controller('restore')
export class GetFileInfoController {
  constructor(
    private readonly mounts: MountUses,
    private readonly browser: MountBrowser,
  ) {}

  @Get(':mount_id/file-info')
  @PresentOnly()
  @ApiOperation({
    summary: 'Show a file or directory in a mount',
    description: 'A symbolic link at the end of the path is not followed; the link itself is described.',
  })
  @ApiOkResponse({ type: GuestFileResponse })
  @ApiProblem(400, 'validation_failed', 'path_invalid', 'path_too_long')
  @ApiProblem(409, 'not_a_directory', 'link_loop', 'mount_not_ready')
  @ApiGuestFileProblems()
  info(@Param('mount_id', UuidParam) mountId: string, @Query() query: GuestPathQuery, @Req() request: Request): Promise<GuestFileResponse> {
    const text = pathTextOf(query);
    const use = { mountId, reader: readerOf(request), operation: 'file_info', path: text.path } as const;
    return this.mounts.use(use, async (mount) => {
      const file = await this.browser.info(mount.mount_path, { ...text, followed: false });
      await this.mounts.recordAccess(use, mount, file.path);
      return file;
    });
  }
}
