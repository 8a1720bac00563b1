import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import { messageOf } from '../../kernel/error-message.js';
import { writeWhole } from '../../lib/config/kept-files.js';
import { NodeConfig } from '../node.config.js';
import { loggerFor } from '../../lib/logging/logger.js';
import type { NodeTunnelPorts } from '../../contract/tunnel.js';
import { parseTunnelSettings, readTunnelSettings, TUNNEL_FILES, tunnelSettingsText, withPorts } from '../../tunnel/interface/tunnel-settings.js';

/** Writes the hub's ports to the file that the tunnel reads; the tunnel then reconnects. */
@Injectable()
export class TunnelPorts {
  private readonly logger = loggerFor('TunnelPorts');

  constructor(private readonly config: NodeConfig) {}

  /** @returns whether the ports changed. @throws DomainError node_not_enrolled; tunnel_ports_invalid, which changes nothing */
  async take(ports: NodeTunnelPorts): Promise<boolean> {
    const settings = await readTunnelSettings(this.config.tunnelDirectory);
    if (settings === null) throw new DomainError('conflict', 'node_not_enrolled', 'This node was not enrolled: it has no tunnel.');
    const text = tunnelSettingsText(withPorts(settings, ports));
    if (text === tunnelSettingsText(settings)) return false;
    try {
      parseTunnelSettings(text);
    } catch (error) {
      throw new DomainError('invalid', 'tunnel_ports_invalid', `These ports cannot be used for a tunnel: ${messageOf(error)}.`);
    }
    writeWhole(join(this.config.tunnelDirectory, TUNNEL_FILES.settings), text);
    this.logger.info("the hub's ports have changed, and the tunnel will reconnect", { ...ports });
    return true;
  }
}
