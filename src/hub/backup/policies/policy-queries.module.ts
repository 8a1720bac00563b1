import { Module } from '@nestjs/common';
import { PolicyReader } from './model/policy.reader.js';
import { ProtectionReader } from './model/protection.reader.js';

/** What other contexts read about policies. */
@Module({ providers: [PolicyReader, ProtectionReader], exports: [PolicyReader, ProtectionReader] })
export class PolicyQueriesModule {}
