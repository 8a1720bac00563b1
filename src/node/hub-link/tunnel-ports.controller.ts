import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { ApiProperty, ApiTags } from '@nestjs/swagger';
import { IsInt, Max, Min } from 'class-validator';
import type { NodeTunnelPorts, NodeTunnelPortsTaken } from '../../contract/node-api.js';
import { TunnelPorts } from './tunnel-ports.service.js';

export class TunnelPortsDto implements NodeTunnelPorts {
  @ApiProperty({ example: 9080 })
  @IsInt()
  @Min(1)
  @Max(65535)
  readonly hub_api_port!: number;

  @ApiProperty({ example: 10100 })
  @IsInt()
  @Min(1)
  @Max(65535)
  readonly nbd_port_first!: number;

  @ApiProperty({ example: 101 })
  @IsInt()
  @Min(1)
  @Max(65535)
  readonly nbd_port_count!: number;
}

@ApiTags('tunnel')
@Controller('tunnel-ports')
export class TunnelPortsController {
  constructor(private readonly ports: TunnelPorts) {}

  @Post()
  @HttpCode(200)
  async take(@Body() body: TunnelPortsDto): Promise<NodeTunnelPortsTaken> {
    return { changed: await this.ports.take(body) };
  }
}
