import { Global, Module } from '@nestjs/common';
import { FileHasher } from '../../../storage/hashing/file-hasher.js';
import { NbdInfo } from '../../../lib/nbd/nbd-info.js';
import { PortProbe } from '../../../lib/nbd/port-probe.js';
import { TcpConnections } from '../../exports/nbd-servers/tcp-connections.js';
import { QemuImg } from '../../../lib/qemu/qemu-img.js';
import { FileSync } from '../../repositories/repository-storage/file-sync.js';
import { ProcessSupervisor } from '../../../lib/process/process-supervisor.port.js';
import { ShellProcessSupervisor } from '../../../lib/process/shell-process-supervisor.js';

const TOOLS = [QemuImg, NbdInfo, PortProbe, TcpConnections, FileHasher, FileSync];

/** The programs and kernel tables of this machine, for the hub and the node. */
@Global()
@Module({
  providers: [...TOOLS, { provide: ProcessSupervisor, useClass: ShellProcessSupervisor }],
  exports: [...TOOLS, ProcessSupervisor],
})
export class HostToolsModule {}
