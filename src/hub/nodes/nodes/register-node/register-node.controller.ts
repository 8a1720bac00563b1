import { Body, Controller, Post, Req, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiCreatedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiAsksNode, ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { requestState } from '../../../../lib/http/request-state.js';
import { RegisterNode, StartEnrolment } from '../model/node.commands.js';
import { enrolledNodeUrl } from '../model/node.events.js';
import { RegisteredNodeDto, RegisterNodeDto } from './register-node.dto.js';

@ApiTags('nodes')
@Controller('nodes')
export class RegisterNodeController {
  constructor(private readonly commands: CommandBus) {}

  @Post()
  @ApiOperation({
    summary: 'Register a node or start an enrolment',
    description:
      'With `url`: the node must answer there, and its answer contains its id. Without `url`: the response contains a pairing code for `sendense node enrol` on the node. The name of a node that was revoked or did not pair in time enrols that node again.',
  })
  @ApiCreatedResponse({ type: RegisteredNodeDto })
  @ApiProblem(409, 'node_already_registered', 'node_name_taken', 'enrolment_not_configured', 'pairing_code_shown_once')
  @ApiAsksNode()
  @ApiProblem(503, 'read_model_behind', 'node_ports_exhausted', 'node_access_not_published')
  async register(
    @Body() body: RegisterNodeDto,
    @Context() context: CommandContext,
    @Req() request: Request,
    @Res({ passthrough: true }) response: Response,
  ): Promise<RegisteredNodeDto> {
    if (body.url === undefined) {
      const offer = await this.commands.execute(new StartEnrolment(body.name, context));
      // The answer kept for a repeated Idempotency-Key is an event, and events are permanent.
      requestState(request).answerIsSecret = true;
      answerPosition(response, offer.position);
      response.location(`/api/v1/nodes/${offer.node.node_id}`);
      const { node_id, name, expires_at, reverse_port } = offer.node;
      return { node_id, name, url: enrolledNodeUrl(reverse_port), state: 'pairing', pairing_code: offer.pairingCode, expires_at, position: offer.position };
    }
    const command = new RegisterNode(body.name, new URL(body.url).origin, context);
    const { node, position } = await this.commands.execute(command);
    answerPosition(response, position);
    response.location(`/api/v1/nodes/${node.node_id}`);
    return { ...node, position };
  }
}
