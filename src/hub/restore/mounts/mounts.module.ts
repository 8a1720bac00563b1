import { Module } from '@nestjs/common';
import { MountBrowser } from './mount-browser.js';
import { MountDrivers } from './mount-drivers.js';

/** Depends on the process supervisor and the hub's configuration, which are global. */
@Module({ providers: [MountDrivers, MountBrowser], exports: [MountDrivers, MountBrowser] })
export class MountsModule {}
