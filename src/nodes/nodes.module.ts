import { Module } from '@nestjs/common';
import { NodeClientModule } from '../platform/node-client/node-client.module.js';
import { RegisterLockModule } from '../platform/register-lock/register-lock.module.js';
import { DiscoverVmsController } from './discover-vms/discover-vms.controller.js';
import { RecordLeftoversHandler } from './record-leftovers/record-leftovers.handler.js';
import { RegisterLocalNodeHandler } from './register-local-node/register-local-node.handler.js';
import { RegisterNodeController } from './register-node/register-node.controller.js';
import { RegisterNodeHandler } from './register-node/register-node.handler.js';
import { RemoveNodeController } from './remove-node/remove-node.controller.js';
import { RemoveNodeHandler } from './remove-node/remove-node.handler.js';
import { DEFAULT_NODE_WATCH, NODE_WATCH_OPTIONS, WatchNodesReactor } from './watch-nodes/watch-nodes.reactor.js';
import { GetNodeController } from './get-node/get-node.controller.js';
import { ListNodesController } from './list-nodes/list-nodes.controller.js';

@Module({
  imports: [NodeClientModule, RegisterLockModule],
  controllers: [ListNodesController, GetNodeController, RegisterNodeController, RemoveNodeController, DiscoverVmsController],
  providers: [
    RegisterNodeHandler,
    RegisterLocalNodeHandler,
    RemoveNodeHandler,
    RecordLeftoversHandler,
    WatchNodesReactor,
    { provide: NODE_WATCH_OPTIONS, useValue: DEFAULT_NODE_WATCH },
  ],
})
export class NodesModule {}
