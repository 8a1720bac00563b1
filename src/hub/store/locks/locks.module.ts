import { Global, Module } from '@nestjs/common';
import { KeyedMutex } from '../../../lib/concurrency/keyed-mutex.js';

/** One mutex for the whole hub: whoever plans on a restore point and whoever deletes one must meet at the same lock. */
@Global()
@Module({ providers: [KeyedMutex], exports: [KeyedMutex] })
export class LocksModule {}
