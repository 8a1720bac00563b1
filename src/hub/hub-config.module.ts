import { type DynamicModule, Global, Module } from '@nestjs/common';
import { HubConfig } from './hub.config.js';
import { HUB_ID } from './store/event-store/command-runner.js';

/** Provides the validated configuration and the hub's id. */
@Global()
@Module({})
export class HubConfigModule {
  static of(config: HubConfig, hubId: string): DynamicModule {
    return {
      module: HubConfigModule,
      providers: [
        { provide: HubConfig, useValue: config },
        { provide: HUB_ID, useValue: hubId },
      ],
      exports: [HubConfig, HUB_ID],
    };
  }
}
