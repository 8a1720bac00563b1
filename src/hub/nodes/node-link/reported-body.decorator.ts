import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { Request } from 'express';
import { InvalidMessageError, type MessageClass, parseMessage } from '../../../contract/parse-message.js';
import { validationProblem } from '../../../lib/http/problem.js';

/**
 * Handler parameter: the body of a call by a node, without members that this hub does not know, because the node may be newer. Requests of people are
 * validated by Nest's pipe, which refuses unknown members.
 */
export const ReportedBody = createParamDecorator((type: MessageClass<object>, context: ExecutionContext): object => {
  const body: unknown = context.switchToHttp().getRequest<Request>().body;
  try {
    return parseMessage(type, body);
  } catch (error) {
    throw error instanceof InvalidMessageError ? validationProblem([error]) : error;
  }
});
