import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import type { Request } from 'express';
import { MAX_BODY_BYTES, MAX_UNKNOWN_BODY_BYTES, takeBody } from './request-body.js';
import { requestState } from './request-state.js';

/** Runs after the access guard, so that no body is read before its sender is known. */
@Injectable()
export class BodyGuard implements CanActivate {
  async canActivate(context: ExecutionContext): Promise<boolean> {
    const request = context.switchToHttp().getRequest<Request>();
    await takeBody(request, requestState(request).actor === 'public' ? MAX_UNKNOWN_BODY_BYTES : MAX_BODY_BYTES);
    return true;
  }
}
