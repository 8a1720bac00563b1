import { Global, Module } from '@nestjs/common';
import { KeyedMutex } from '../../../lib/concurrency/keyed-mutex.js';

/** One mutex for the whole hub: planning on a restore point and deleting one must use the same lock. */
@Global()
@Module({ providers: [KeyedMutex], exports: [KeyedMutex] })
export class LocksModule {}
