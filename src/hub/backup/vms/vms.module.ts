import { Module } from '@nestjs/common';
import { NodeClientModule } from '../../nodes/node-link/node-client.module.js';
import { RegisterLockModule } from '../../store/register-lock/register-lock.module.js';
import { ObserveVmDisksHandler } from './observe-disks/observe-disks.handler.js';
import { ObserveVmProblemHandler } from './observe-problem/observe-problem.handler.js';
import { RegisterVmController } from './register-vm/register-vm.controller.js';
import { RegisterVmHandler } from './register-vm/register-vm.handler.js';
import { RemoveVmController } from './remove-vm/remove-vm.controller.js';
import { RemoveVmHandler } from './remove-vm/remove-vm.handler.js';
import { SetLabelsController } from './set-labels/set-labels.controller.js';
import { SetVmLabelsHandler } from './set-labels/set-labels.handler.js';
import { GetVmController } from './get-vm/get-vm.controller.js';
import { ListVmsController } from './list-vms/list-vms.controller.js';

@Module({
  imports: [NodeClientModule, RegisterLockModule],
  controllers: [ListVmsController, GetVmController, RegisterVmController, RemoveVmController, SetLabelsController],
  providers: [RegisterVmHandler, RemoveVmHandler, ObserveVmDisksHandler, ObserveVmProblemHandler, SetVmLabelsHandler],
})
export class VmsModule {}
