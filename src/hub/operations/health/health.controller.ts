import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { DomainError } from '../../../kernel/domain-error.js';
import { Public } from '../../../lib/http/bearer.guard.js';
import { HealthChecks } from '../../../lib/http/health-checks.js';
import { ApiProblem } from '../../../lib/http/problem-responses.decorator.js';
import { HubHealthDto } from '../http/hub-role.dto.js';
import { LivenessDto, ReadinessDto } from './health.dto.js';

@ApiTags('operations')
@Public()
@Controller('health')
export class HealthController {
  constructor(private readonly checks: HealthChecks) {}

  @Get()
  @ApiOperation({ summary: 'Show whether this hub is the active one' })
  @ApiOkResponse({ type: HubHealthDto })
  role(): HubHealthDto {
    return { role: 'active' };
  }

  @Get('live')
  @ApiOperation({ summary: 'Check that the process is up' })
  @ApiOkResponse({ type: LivenessDto })
  live(): LivenessDto {
    return { status: 'live' };
  }

  @Get('ready')
  @ApiOperation({ summary: 'Check that the service is ready, with the result of each check' })
  @ApiOkResponse({ type: ReadinessDto })
  @ApiProblem(503, 'not_ready')
  async ready(): Promise<ReadinessDto> {
    const checks = await this.checks.run();
    const missing = checks.filter((check) => check.required && check.status === 'down').map((check) => check.name);
    if (missing.length > 0) {
      throw new DomainError('unavailable', 'not_ready', `The service is not ready: ${missing.join(', ')} down.`, {
        checks: checks.map((check) => ({ ...check })),
      });
    }
    return { status: 'ready', checks };
  }
}
