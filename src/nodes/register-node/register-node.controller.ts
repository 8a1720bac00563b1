import { Body, Controller, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiCreatedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../kernel/command-context.js';
import { Context } from '../../platform/http/command-context.interceptor.js';
import { answerPosition } from '../../platform/http/own-writes.interceptor.js';
import { ApiProblem } from '../../platform/http/problem-responses.decorator.js';
import { type NodeRegistration, RegisterNode } from '../model/node.commands.js';
import { RegisteredNodeDto, RegisterNodeDto } from './register-node.dto.js';

@ApiTags('nodes')
@Controller('nodes')
export class RegisterNodeController {
  constructor(private readonly commands: CommandBus) {}

  @Post()
  @ApiOperation({ summary: 'Register a node', description: 'The node must answer there; its id is taken from its answer.' })
  @ApiCreatedResponse({ type: RegisteredNodeDto })
  @ApiProblem(400, 'validation_failed')
  @ApiProblem(409, 'node_already_registered', 'node_name_taken')
  @ApiProblem(502, 'node_broken_answer', 'node_refused_token')
  @ApiProblem(503, 'node_unreachable', 'read_model_behind')
  @ApiProblem(504, 'node_silent')
  async register(
    @Body() body: RegisterNodeDto,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<RegisteredNodeDto> {
    const command = new RegisterNode(body.name, new URL(body.url).origin, context);
    const { node, position } = await this.commands.execute<RegisterNode, NodeRegistration>(command);
    answerPosition(response, position);
    return { ...node, position };
  }
}
