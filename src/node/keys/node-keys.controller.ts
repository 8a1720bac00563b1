import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { ApiProperty, ApiTags } from '@nestjs/swagger';
import type { NodeActivateKeys, NodePreparedKeys, NodePrepareKeys } from '../../contract/node-api.js';
import { NodeKeys } from './node-keys.service.js';
import { IsUuid } from '../../lib/http/uuid.decorator.js';

export class NodeKeysDto implements NodePrepareKeys, NodeActivateKeys {
  @ApiProperty({ example: '0199a3c0-0001-7000-8000-00000000000b' })
  @IsUuid()
  readonly rotation_id!: string;
}

@ApiTags('keys')
@Controller('keys')
export class NodeKeysController {
  constructor(private readonly keys: NodeKeys) {}

  @Post('prepare')
  @HttpCode(200)
  prepare(@Body() body: NodeKeysDto): Promise<NodePreparedKeys> {
    return this.keys.prepare(body.rotation_id);
  }

  @Post('activate')
  @HttpCode(200)
  async activate(@Body() body: NodeKeysDto): Promise<{ readonly activating: true }> {
    await this.keys.activate(body.rotation_id);
    return { activating: true };
  }
}
