import { type DynamicModule, Global, Module } from '@nestjs/common';
import { HUB_ID } from '../../hub/store/event-store/command-runner.js';
import { HubConfig } from '../../hub/hub.config.js';
import { NodeConfig } from '../../node/node.config.js';

/** Gives the validated configuration, and the hub's id, to everything that asks for them. */
@Global()
@Module({})
export class ConfigModule {
  static forHub(config: HubConfig, hubId: string): DynamicModule {
    return {
      module: ConfigModule,
      providers: [
        { provide: HubConfig, useValue: config },
        { provide: HUB_ID, useValue: hubId },
      ],
      exports: [HubConfig, HUB_ID],
    };
  }

  static forNode(config: NodeConfig): DynamicModule {
    return { module: ConfigModule, providers: [{ provide: NodeConfig, useValue: config }], exports: [NodeConfig] };
  }
}
