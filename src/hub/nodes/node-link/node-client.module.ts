import { Module } from '@nestjs/common';
import { NodeClient } from './node-client.js';

/** Requires HubConfig and ACCESS_TOKENS from global modules. */
@Module({ providers: [NodeClient], exports: [NodeClient] })
export class NodeClientModule {}
