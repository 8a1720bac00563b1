import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { NodeTunnelPorts, type NodeTunnelPortsTaken } from '../../contract/tunnel.js';
import { TunnelPorts } from './tunnel-ports.service.js';

@Controller('tunnel-ports')
export class TunnelPortsController {
  constructor(private readonly ports: TunnelPorts) {}

  @Post()
  @HttpCode(200)
  async take(@Body() body: NodeTunnelPorts): Promise<NodeTunnelPortsTaken> {
    return { changed: await this.ports.take(body) };
  }
}
