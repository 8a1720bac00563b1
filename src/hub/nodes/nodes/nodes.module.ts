import { Module } from '@nestjs/common';
import { LocksModule } from '../../store/locks/locks.module.js';
import { NodeClientModule } from '../node-link/node-client.module.js';
import { RegisterLockModule } from '../../store/register-lock/register-lock.module.js';
import { NodeTokenFiles } from '../node-link/node-token-files.js';
import { ApproveNodeController } from './approve-node/approve-node.controller.js';
import { ApproveNodeHandler } from './approve-node/approve-node.handler.js';
import { NodeAccessPublisher } from './model/node-access.port.js';
import { PairNodeController } from './pair-node/pair-node.controller.js';
import { PairNodeHandler } from './pair-node/pair-node.handler.js';
import { PublishNodeAccessReactor } from './publish-node-access/publish-node-access.reactor.js';
import { KeyRotationService } from './rotate-keys/key-rotation.service.js';
import { RotateKeysController } from './rotate-keys/rotate-keys.controller.js';
import { RecordKeysInUseHandler, RotateNodeKeysHandler } from './rotate-keys/rotate-keys.handler.js';
import { RotateKeysService } from './rotate-keys/rotate-keys.service.js';
import { StartEnrolmentHandler } from './start-enrolment/start-enrolment.handler.js';
import { DiscoverVmsController } from './discover-vms/discover-vms.controller.js';
import { RecordTunnelController } from './record-tunnel/record-tunnel.controller.js';
import { RecordTunnelHandler } from './record-tunnel/record-tunnel.handler.js';
import { RecordLeftoversHandler } from './record-leftovers/record-leftovers.handler.js';
import { RegisterLocalNodeHandler } from './register-local-node/register-local-node.handler.js';
import { RegisterNodeController } from './register-node/register-node.controller.js';
import { RegisterNodeHandler } from './register-node/register-node.handler.js';
import { RemoveNodeController } from './remove-node/remove-node.controller.js';
import { RemoveNodeHandler } from './remove-node/remove-node.handler.js';
import { ReportPortsService } from './report-ports/report-ports.service.js';
import { DEFAULT_NODE_WATCH, NODE_WATCH_OPTIONS, WatchNodesService } from './watch-nodes/watch-nodes.service.js';
import { GetNodeController } from './get-node/get-node.controller.js';
import { ListNodesController } from './list-nodes/list-nodes.controller.js';

@Module({
  imports: [NodeClientModule, RegisterLockModule, LocksModule],
  controllers: [
    ListNodesController,
    // Before the controllers with an id at this place in the path.
    PairNodeController,
    GetNodeController,
    RegisterNodeController,
    ApproveNodeController,
    RotateKeysController,
    RemoveNodeController,
    DiscoverVmsController,
    RecordTunnelController,
  ],
  providers: [
    RegisterNodeHandler,
    RegisterLocalNodeHandler,
    RemoveNodeHandler,
    RecordLeftoversHandler,
    RecordTunnelHandler,
    StartEnrolmentHandler,
    PairNodeHandler,
    ApproveNodeHandler,
    RotateNodeKeysHandler,
    RecordKeysInUseHandler,
    RotateKeysService,
    KeyRotationService,
    PublishNodeAccessReactor,
    { provide: NodeAccessPublisher, useExisting: PublishNodeAccessReactor },
    NodeTokenFiles,
    WatchNodesService,
    ReportPortsService,
    { provide: NODE_WATCH_OPTIONS, useValue: DEFAULT_NODE_WATCH },
  ],
})
export class NodesModule {}
