import { applyDecorators, type CanActivate, type ExecutionContext, Inject, Injectable, SetMetadata } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { ApiExtension } from '@nestjs/swagger';
import type { Request } from 'express';
import { DomainError } from '../../kernel/domain-error.js';
import { ACCESS_TOKENS, type AccessTokens, bearerTokenOf, sameToken } from './access-tokens.js';
import { validationProblem } from './problem.js';
import { requestState } from './request-state.js';

/** Who may call a route: anyone, the holder of the API token, or a node. */
export type RouteAccess = 'public' | 'api' | 'node';

const ACCESS = 'sendense:route-access';
/** OpenAPI extension that carries the access of an operation into the document. */
export const ACCESS_EXTENSION = 'x-sendense-access';

/** Opens a route to anyone. Only for health. */
export const Public = (): MethodDecorator & ClassDecorator => routeAccess('public');
/** Only the node's token opens the route. */
export const NodeOnly = (): MethodDecorator & ClassDecorator => routeAccess('node');

function routeAccess(access: RouteAccess): MethodDecorator & ClassDecorator {
  return applyDecorators(SetMetadata(ACCESS, access), ApiExtension(ACCESS_EXTENSION, access));
}

const NODE_HEADER = 'x-sendense-node';
const NODE_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Global guard: a route that says nothing about its access needs the API token. Sets the actor of the request. */
@Injectable()
export class BearerGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    @Inject(ACCESS_TOKENS) private readonly tokens: AccessTokens,
  ) {}

  canActivate(context: ExecutionContext): boolean {
    const access = this.reflector.getAllAndOverride<RouteAccess | undefined>(ACCESS, [context.getHandler(), context.getClass()]) ?? 'api';
    if (access === 'public') return true;

    const request = context.switchToHttp().getRequest<Request>();
    const presented = bearerTokenOf(request.headers.authorization);
    if (presented === null) {
      throw new DomainError('unauthenticated', 'token_missing', 'This route needs a token: send the header "Authorization: Bearer <token>".');
    }
    const isApi = sameToken(presented, this.tokens.apiToken);
    const isNode = sameToken(presented, this.tokens.nodeToken);
    if (!isApi && !isNode) throw new DomainError('unauthenticated', 'token_invalid', 'The token is not one of this service.');
    if (access === 'node' && !isNode) throw new DomainError('forbidden', 'node_token_needed', 'Only a node may call this route, with its own token.');
    if (access === 'api' && !isApi) throw new DomainError('forbidden', 'api_token_needed', "This route needs the API token; a node's token does not open it.");
    requestState(request).actor = access === 'node' ? nodeActor(request) : 'api:token';
    return true;
  }
}

function nodeActor(request: Request): string {
  const id = request.headers[NODE_HEADER];
  if (id === undefined) return 'node:unnamed';
  if (typeof id !== 'string' || !NODE_ID.test(id)) {
    throw validationProblem([
      { field: 'X-Sendense-Node', rule: 'node_id', message: 'X-Sendense-Node must be a node id: 1 to 64 letters, digits, dots, dashes or underscores' },
    ]);
  }
  return `node:${id}`;
}
