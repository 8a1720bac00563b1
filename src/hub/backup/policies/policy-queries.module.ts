import { Module } from '@nestjs/common';
import { PolicyReader } from './model/policy.reader.js';
import { ProtectionReader } from './model/protection.reader.js';
import { ServiceLevelReader } from './model/service-level.reader.js';

/** What other contexts read about policies. */
@Module({ providers: [PolicyReader, ProtectionReader, ServiceLevelReader], exports: [PolicyReader, ProtectionReader, ServiceLevelReader] })
export class PolicyQueriesModule {}
