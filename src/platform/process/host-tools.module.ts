import { Global, Module } from '@nestjs/common';
import { FileHasher } from '../hashing/file-hasher.js';
import { NbdInfo } from '../nbd/nbd-info.js';
import { PortProbe } from '../nbd/port-probe.js';
import { TcpConnections } from '../nbd/tcp-connections.js';
import { QemuImg } from '../qemu/qemu-img.js';
import { FileSync } from './file-sync.js';
import { ProcessSupervisor } from './process-supervisor.port.js';
import { ShellProcessSupervisor } from './shell-process-supervisor.js';

const TOOLS = [QemuImg, NbdInfo, PortProbe, TcpConnections, FileHasher, FileSync];

/** The programs and kernel tables of this machine, for hub and node alike. */
@Global()
@Module({
  providers: [...TOOLS, { provide: ProcessSupervisor, useClass: ShellProcessSupervisor }],
  exports: [...TOOLS, ProcessSupervisor],
})
export class HostToolsModule {}
