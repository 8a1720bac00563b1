import { Module } from '@nestjs/common';
import { GetVmController } from './get-vm/get-vm.controller.js';
import { ListVmsController } from './list-vms/list-vms.controller.js';

/** What is asked of registered VMs. */
@Module({ controllers: [ListVmsController, GetVmController] })
export class VmQueriesModule {}
