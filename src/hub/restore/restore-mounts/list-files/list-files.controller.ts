import { Controller, Get, Param, Query, Req } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Request } from 'express';
import type { JsonObject } from '../../../../kernel/json.js';
import { decodeCursor, encodeCursor } from '../../../operations/http/cursor-page.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { readerOf } from '../../../operations/http/request-reader.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { MountBrowser } from '../../mounts/mount-browser.js';
import { pathTextOf } from '../model/guest-file.response.js';
import { ApiGuestFileProblems } from '../model/guest-file-problems.decorator.js';
import { MountUses } from '../model/use-mount.access.js';
import { FileListDto, ListFilesQuery } from './list-files.dto.js';
import { PresentOnly } from '../../../../lib/http/query.guard.js';

type FilesKey = { readonly after: string };

@ApiTags('file-level restore')
@Controller('restore')
export class ListFilesController {
  constructor(
    private readonly mounts: MountUses,
    private readonly browser: MountBrowser,
  ) {}

  @Get(':mount_id/files')
  @PresentOnly()
  @ApiOperation({ summary: 'List the files of a directory in a mount' })
  @ApiOkResponse({ type: FileListDto })
  @ApiProblem(400, 'validation_failed', 'path_invalid', 'path_too_long', 'cursor_invalid')
  @ApiProblem(409, 'not_a_directory', 'link_loop', 'mount_not_ready')
  @ApiGuestFileProblems()
  async list(@Param('mount_id', UuidParam) mountId: string, @Query() query: ListFilesQuery, @Req() request: Request): Promise<FileListDto> {
    const text = pathTextOf(query);
    const after = decodeCursor(query.cursor, isFilesKey)?.after ?? null;
    const use = { mountId, reader: readerOf(request), operation: 'list_files', path: text.path } as const;
    const recursive = query.recursive ?? false;
    const { next_after, ...page } = await this.mounts.use(use, async (mount) => {
      const found = await this.browser.list(mount.mount_path, { ...text, recursive, limit: query.limit, after });
      await this.mounts.recordAccess(use, mount, found.path, recursive ? { recursive: 'true' } : {});
      return found;
    });
    return { ...page, next_cursor: next_after === null ? null : encodeCursor({ after: next_after }) };
  }
}

/** One character per byte, as returned by the browser. */
function isFilesKey(key: JsonObject): key is FilesKey {
  const { after } = key;
  return typeof after === 'string' && after !== '' && Buffer.from(after, 'latin1').toString('latin1') === after;
}
