import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { PresentOnly } from '../../../../lib/http/query.guard.js';
import { HubConfig } from '../../../hub.config.js';
import { HubLease } from '../../../store/postgres/hub-lease.js';
import { HubRoleDto, hubRoleOf } from '../../http/hub-role.dto.js';

@ApiTags('operations')
@Controller('hub')
@PresentOnly()
export class ShowRoleController {
  constructor(
    private readonly lease: HubLease,
    private readonly config: HubConfig,
  ) {}

  @Get()
  @ApiOperation({ summary: 'Show the role and term of this hub, and the other hub of its pair', description: 'A standby answers it too.' })
  @ApiOkResponse({ type: HubRoleDto })
  async show(): Promise<HubRoleDto> {
    return hubRoleOf('active', await this.lease.view(), this.config.eventStore);
  }
}
