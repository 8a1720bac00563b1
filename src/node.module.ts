import { type DynamicModule, Global, Module } from '@nestjs/common';
import { NodeAgentModule } from './node-agent/node-agent.module.js';
import { ConfigModule } from './platform/config/config.module.js';
import type { NodeConfig } from './platform/config/node.config.js';
import { ACCESS_TOKENS } from './platform/http/access-tokens.js';
import { HttpModule } from './platform/http/http.module.js';

/** Hub and node show each other one token, so at the node it opens every route that is not public. */
@Global()
@Module({})
class NodeTokensModule {
  static forRoot(nodeToken: string): DynamicModule {
    return {
      module: NodeTokensModule,
      providers: [{ provide: ACCESS_TOKENS, useValue: { apiToken: nodeToken, nodeToken } }],
      exports: [ACCESS_TOKENS],
    };
  }
}

/** The node as a whole. */
@Module({})
export class NodeModule {
  static forRoot(options: { readonly config: NodeConfig; readonly nodeToken: string }): DynamicModule {
    return {
      module: NodeModule,
      imports: [ConfigModule.forNode(options.config), NodeTokensModule.forRoot(options.nodeToken), HttpModule.forNode(), NodeAgentModule],
    };
  }
}
