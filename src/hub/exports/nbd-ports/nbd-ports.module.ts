import { Module } from '@nestjs/common';
import { AllocatePortsController } from './allocate-ports/allocate-ports.controller.js';
import { AllocatePortsHandler } from './allocate-ports/allocate-ports.handler.js';
import { ListPortsController } from './list-ports/list-ports.controller.js';
import { ReleaseJobController } from './release-job/release-job.controller.js';
import { ReleaseJobHandler } from './release-job/release-job.handler.js';
import { ReleasePortController } from './release-port/release-port.controller.js';
import { ReleasePortHandler } from './release-port/release-port.handler.js';

@Module({
  controllers: [AllocatePortsController, ListPortsController, ReleaseJobController, ReleasePortController],
  providers: [AllocatePortsHandler, ReleasePortHandler, ReleaseJobHandler],
})
export class NbdPortsModule {}
