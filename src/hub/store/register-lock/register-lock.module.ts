import { Module } from '@nestjs/common';
import { RegisterLock } from './register-lock.js';

@Module({ providers: [RegisterLock], exports: [RegisterLock] })
export class RegisterLockModule {}
