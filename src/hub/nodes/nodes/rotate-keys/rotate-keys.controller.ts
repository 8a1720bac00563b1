import { Controller, HttpCode, Param, Post, Req, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiBody, ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { CallingNode, NodeOnly } from '../../../../lib/http/bearer.guard.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiAsksNode, ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { requestState } from '../../../../lib/http/request-state.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { ReportedBody } from '../../node-link/reported-body.decorator.js';
import { NodeKeysInUse } from '../../../../contract/keys.js';
import { RecordKeysInUse, RotateNodeKeys } from '../model/node.commands.js';
import { RotatedKeysDto } from './rotate-keys.dto.js';

@ApiTags('nodes')
@Controller('nodes')
export class RotateKeysController {
  constructor(private readonly commands: CommandBus) {}

  @Post(':id/rotate-keys')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Rotate the key and token of an enrolled node',
    description:
      'The node creates them. The old and the new ones are valid until the new ones are seen in use. Then the old ones are refused and the tunnel reconnects; transfers survive that. `completed` is false if this has not happened yet; the hub continues on its own.',
  })
  @ApiParam({ name: 'id', example: '0199a3c0-0001-7000-8000-00000000000a' })
  @ApiOkResponse({ type: RotatedKeysDto })
  @ApiProblem(404, 'node_not_found')
  @ApiProblem(409, 'node_not_enrolled', 'node_revoked')
  @ApiAsksNode()
  @ApiProblem(503, 'node_access_not_published')
  async rotate(
    @Param('id', UuidParam) id: string,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<RotatedKeysDto> {
    const { publicKeyFingerprint, completed, position } = await this.commands.execute(new RotateNodeKeys(id, context));
    answerPosition(response, position);
    return { node_id: id, public_key_fingerprint: publicKeyFingerprint, completed, position };
  }

  @Post(':id/keys-in-use')
  @NodeOnly()
  @HttpCode(204)
  @ApiOperation({
    summary: 'Confirm that new keys are in use (called by the node)',
    description: 'The node calls this over its new key and signs the call with its new token, which proves to the hub that both are in use.',
  })
  @ApiParam({ name: 'id', example: '0199a3c0-0001-7000-8000-00000000000a' })
  @ApiBody({ type: NodeKeysInUse })
  @ApiNoContentResponse({ description: 'The old key and the old token are now refused' })
  @ApiProblem(403, 'not_your_node', 'token_not_of_rotation')
  @ApiProblem(404, 'node_not_found')
  @ApiProblem(409, 'rotation_not_found', 'node_not_enrolled', 'node_revoked')
  async inUse(
    @Param('id', UuidParam) id: string,
    @ReportedBody(NodeKeysInUse) body: NodeKeysInUse,
    @CallingNode() caller: string | null,
    @Context() context: CommandContext,
    @Req() request: Request,
  ): Promise<void> {
    if (caller !== id) throw new DomainError('forbidden', 'not_your_node', 'A node may confirm only its own keys.', { node_id: id });
    const token = requestState(request).answerTo?.token ?? '';
    await this.commands.execute(new RecordKeysInUse(id, body.rotation_id, token, context));
  }
}
