import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { CleanUpMountsService } from './clean-up-mounts.service.js';
import { CleanupStatusDto } from './cleanup-status.dto.js';
import { PresentOnly } from '../../../../lib/http/query.guard.js';

@ApiTags('file-level restore')
@Controller('restore/cleanup-status')
export class CleanupStatusController {
  constructor(private readonly cleanup: CleanUpMountsService) {}

  @Get()
  @PresentOnly()
  @ApiOperation({ summary: 'Show the status of the mount cleanup: interval, idle limit, last run' })
  @ApiOkResponse({ type: CleanupStatusDto })
  status(): CleanupStatusDto {
    return this.cleanup.status();
  }
}
