import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { NodeActivateKeys, type NodeActivating, type NodePreparedKeys, NodePrepareKeys } from '../../contract/keys.js';
import { NodeKeys } from './node-keys.service.js';

@Controller('keys')
export class NodeKeysController {
  constructor(private readonly keys: NodeKeys) {}

  @Post('prepare')
  @HttpCode(200)
  prepare(@Body() body: NodePrepareKeys): Promise<NodePreparedKeys> {
    return this.keys.prepare(body.rotation_id);
  }

  @Post('activate')
  @HttpCode(200)
  async activate(@Body() body: NodeActivateKeys): Promise<NodeActivating> {
    await this.keys.activate(body.rotation_id);
    return { activating: true };
  }
}
