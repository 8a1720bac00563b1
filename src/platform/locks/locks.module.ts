import { Module } from '@nestjs/common';
import { KeyedMutex } from './keyed-mutex.js';

/** One mutex for all contexts that import this: what they serialise between them must be serialised in one place. */
@Module({ providers: [KeyedMutex], exports: [KeyedMutex] })
export class LocksModule {}
