import { Controller, HttpCode, Param, Post } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiBody, ApiNoContentResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { CallingNode, NodeOnly } from '../../../../lib/http/bearer.guard.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { ReportedBody } from '../../node-link/reported-body.decorator.js';
import { NodeTunnelReport } from '../../../../contract/tunnel.js';
import { RecordTunnel } from '../model/node.commands.js';

@ApiTags('telemetry')
@Controller('telemetry')
export class RecordTunnelController {
  constructor(private readonly commands: CommandBus) {}

  @Post('tunnel/:node_id')
  @NodeOnly()
  @HttpCode(204)
  @ApiOperation({
    summary: 'Report the state changes of a tunnel (called by the node)',
    description: 'The node sends this once its tunnel is up again, with all changes since its last report. Changes that are already known are skipped.',
  })
  @ApiParam({ name: 'node_id', example: '0199a3c0-0001-7000-8000-00000000000a' })
  @ApiBody({ type: NodeTunnelReport })
  @ApiNoContentResponse({ description: 'Recorded' })
  @ApiProblem(403, 'not_your_tunnel')
  async report(
    @Param('node_id', UuidParam) nodeId: string,
    @ReportedBody(NodeTunnelReport) body: NodeTunnelReport,
    @CallingNode() caller: string | null,
    @Context() context: CommandContext,
  ): Promise<void> {
    if (caller !== nodeId) {
      throw new DomainError('forbidden', 'not_your_tunnel', `Only node ${nodeId} itself may report its tunnel.`, { node_id: nodeId });
    }
    const changes = body.transitions.map(({ at, ...change }) => ({ ...change, changed_at: at }));
    await this.commands.execute(new RecordTunnel(nodeId, body.journal_id, changes, context));
  }
}
