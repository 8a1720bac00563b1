import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { NodePairingAnswer, NodePairingRequest } from '../../../../contract/pairing.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { HubConfig } from '../../../hub.config.js';
import { Public } from '../../../../lib/http/bearer.guard.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { PairNode } from '../model/node.commands.js';

@ApiTags('nodes')
@Controller('nodes')
export class PairNodeController {
  constructor(
    private readonly commands: CommandBus,
    private readonly config: HubConfig,
  ) {}

  @Post('pair')
  @Public()
  @HttpCode(200)
  @ApiOperation({
    summary: 'Pair a node with its pairing code (called by the node)',
    description: '`sendense node enrol` calls this route through the tunnel server, whose host key is in the code. The code is void afterwards.',
  })
  @ApiOkResponse({ type: NodePairingAnswer })
  @ApiProblem(401, 'pairing_refused')
  @ApiProblem(410, 'pairing_code_used', 'pairing_code_expired', 'pairing_code_void')
  async pair(@Body() body: NodePairingRequest, @Context() context: CommandContext): Promise<NodePairingAnswer> {
    const { node_id, proof, public_key: publicKey, token, hostname, version } = body;
    const command = new PairNode(node_id, { proof, publicKey, token, host: { hostname, version } }, context);
    const pairing = await this.commands.execute(command);
    return {
      node_id,
      name: pairing.name,
      state: 'awaiting_approval',
      public_key_fingerprint: pairing.publicKeyFingerprint,
      reverse_port: pairing.reversePort,
      nbd_port_first: this.config.nbdPortFirst,
      nbd_port_count: this.config.nbdPortCount,
    };
  }
}
