import { applyDecorators, type CanActivate, createParamDecorator, type ExecutionContext, Inject, Injectable, SetMetadata } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { ApiExtension } from '@nestjs/swagger';
import type { Request } from 'express';
import { DomainError } from '../../kernel/domain-error.js';
import { Clock } from '../clock/clock.js';
import { type CallDirection, type CallSignature, isSignedWith, MAX_CLOCK_DIFFERENCE_MS, parseSignature } from '../signed-calls/call-signature.js';
import { type NodeCredential, NodeCredentials } from '../signed-calls/node-credentials.js';
import { SeenNonces } from '../signed-calls/seen-nonces.js';
import { ACCESS_TOKENS, type AccessTokens, apiActorOf, bearerTokenOf, sameToken } from './access-tokens.js';
import { validationProblem } from './problem.js';
import { Refusals } from './refusals.js';
import { pathOf, requestState } from './request-state.js';

/** Who may call a route: anyone, a holder of an API token, or a node. */
export type RouteAccess = 'public' | 'api' | 'node';

const ACCESS = 'sendense:route-access';
/** OpenAPI extension that records the access of an operation in the document. */
export const ACCESS_EXTENSION = 'x-sendense-access';
/** Injection token for the direction of calls to this program. */
export const CALLS_HERE = Symbol('CALLS_HERE');

/** Opens a route to everyone. Only for health checks, and for pairing, which has a secret of its own. */
export const Public = (): MethodDecorator & ClassDecorator => routeAccess('public');
/** Only a node's token grants access to the route. */
export const NodeOnly = (): MethodDecorator & ClassDecorator => routeAccess('node');

/** Who may call the route of a request. */
export function accessOf(reflector: Reflector, context: ExecutionContext): RouteAccess {
  return reflector.getAllAndOverride<RouteAccess | undefined>(ACCESS, [context.getHandler(), context.getClass()]) ?? 'api';
}

/** Handler parameter `string | null`: the authenticated enrolled node; null for nodes that share the local token. */
export const CallingNode = createParamDecorator((_: unknown, context: ExecutionContext): string | null => {
  return requestState(context.switchToHttp().getRequest<Request>()).nodeId;
});

function routeAccess(access: RouteAccess): MethodDecorator & ClassDecorator {
  return applyDecorators(SetMetadata(ACCESS, access), ApiExtension(ACCESS_EXTENSION, access));
}

const NODE_HEADER = 'x-sendense-node';
const NODE_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** The authenticated caller. `peer`: at a node, its hub; it may call both kinds of routes. */
type Caller =
  | { readonly kind: 'api'; readonly actor: string }
  | { readonly kind: 'peer' }
  | { readonly kind: 'enrolled_node'; readonly nodeId: string }
  /** A node that shares a token; the id is its own claim. */
  | { readonly kind: 'sharing_node'; readonly nodeId: string | null };

/**
 * Global guard: a route without declared access needs the API token. A caller presents the token itself (`Bearer`) or, between hub and nodes, signs its call
 * with it and receives a proof in the answer. Sets actor and node of the request.
 */
@Injectable()
export class BearerGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    @Inject(ACCESS_TOKENS) private readonly tokens: AccessTokens,
    private readonly credentials: NodeCredentials,
    private readonly clock: Clock,
    @Inject(CALLS_HERE) private readonly direction: CallDirection,
    private readonly nonces: SeenNonces,
    private readonly refusals: Refusals,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    try {
      return this.admits(context);
    } catch (error) {
      if (error instanceof DomainError && (error.kind === 'unauthenticated' || error.kind === 'forbidden')) {
        const { method, originalUrl, socket } = context.switchToHttp().getRequest<Request>();
        await this.refusals.refused({ sourceAddress: socket.remoteAddress ?? null, code: error.code, method, path: pathOf(originalUrl) });
      }
      throw error;
    }
  }

  private admits(context: ExecutionContext): boolean {
    const access = accessOf(this.reflector, context);
    const request = context.switchToHttp().getRequest<Request>();
    const signature = parseSignature(request.headers.authorization);
    // Signatures are checked on public routes too: the caller wants a proof of who answers.
    if (access === 'public' && signature === null) return true;
    const caller = signature === null ? this.bearer(request) : this.signer(request, signature);
    if (access !== 'public') admit(access, caller);
    const state = requestState(request);
    state.actor = actorOf(access, caller);
    state.nodeId = caller.kind === 'enrolled_node' ? caller.nodeId : null;
    return true;
  }

  private bearer(request: Request): Caller {
    const presented = bearerTokenOf(request.headers.authorization);
    if (presented === null) {
      throw new DomainError('unauthenticated', 'token_missing', 'This route needs a token: send the header "Authorization: Bearer <token>".');
    }
    const own = this.credentials.ownTokens;
    if (own !== null) {
      if (own.some((token) => sameToken(presented, token))) return { kind: 'peer' };
      throw invalidToken();
    }
    const isNode = sameToken(presented, this.tokens.nodeToken);
    const actor = apiActorOf(this.tokens, presented);
    if (actor !== null) return isNode ? { kind: 'peer' } : { kind: 'api', actor };
    if (isNode) return { kind: 'sharing_node', nodeId: this.namedNode(request) };
    const node = this.credentials.all.find(({ accept }) => accept.some((token) => sameToken(presented, token)));
    if (node === undefined) throw invalidToken();
    return admittedNode(node);
  }

  private signer(request: Request, signature: CallSignature | 'malformed'): Caller {
    if (signature === 'malformed') throw new DomainError('unauthenticated', 'signature_malformed', 'The signature of the call is malformed.');
    const node = signature.nodeId === null ? null : this.credentials.ofNode(signature.nodeId);
    const tokens = this.credentials.ownTokens ?? node?.accept ?? [this.tokens.nodeToken];
    const state = requestState(request);
    const call = { direction: this.direction, method: request.method, path: request.originalUrl, body: state.rawBody ?? '' };
    const token = tokens.find((one) => isSignedWith(one, call, signature));
    if (node !== null && this.credentials.ownTokens === null) admittedNode(node);
    if (token === undefined) throw new DomainError('unauthenticated', 'signature_invalid', 'The call is not signed with a token of this service.');
    this.checkFresh(signature);
    state.answerTo = { token, nonce: signature.nonce };
    if (node !== null) return { kind: 'enrolled_node', nodeId: node.nodeId };
    if (this.credentials.ownTokens !== null || sameToken(this.tokens.apiToken, this.tokens.nodeToken)) return { kind: 'peer' };
    return { kind: 'sharing_node', nodeId: signature.nodeId };
  }

  private checkFresh({ timeMs, nonce }: CallSignature): void {
    const nowMs = this.clock.now().getTime();
    const apartMs = Math.abs(nowMs - timeMs);
    if (apartMs > MAX_CLOCK_DIFFERENCE_MS) {
      const seconds = Math.round(apartMs / 1000);
      throw new DomainError(
        'unauthenticated',
        'clocks_differ',
        `The clocks of hub and node are ${seconds} s apart; at most ${MAX_CLOCK_DIFFERENCE_MS / 1000} s are allowed.`,
        {
          seconds_apart: seconds,
        },
      );
    }
    if (!this.nonces.isNew(nonce, nowMs)) throw new DomainError('unauthenticated', 'call_repeated', 'This request was already used once (replayed nonce).');
  }

  private namedNode(request: Request): string | null {
    const id = request.headers[NODE_HEADER];
    if (id === undefined) return null;
    if (typeof id !== 'string' || !NODE_ID.test(id)) {
      throw validationProblem([
        { field: 'X-Sendense-Node', rule: 'node_id', message: 'X-Sendense-Node must be a node id: 1 to 64 letters, digits, dots, dashes or underscores' },
      ]);
    }
    // A holder of the shared token cannot be a node with its own credential.
    return this.credentials.ofNode(id) === null ? id : null;
  }
}

function admittedNode(node: NodeCredential): Caller {
  if (node.status === 'revoked')
    throw new DomainError('unauthenticated', 'node_revoked', `Node ${node.nodeId} was revoked. Enrol it again to use it.`, { node_id: node.nodeId });
  if (node.status === 'not_enrolled_yet') {
    throw new DomainError('unauthenticated', 'node_not_enrolled', `Node ${node.nodeId} is not enrolled yet: an operator must approve it.`, {
      node_id: node.nodeId,
    });
  }
  return { kind: 'enrolled_node', nodeId: node.nodeId };
}

function admit(access: 'api' | 'node', caller: Caller): void {
  if (caller.kind === 'peer') return;
  if (access === 'node' && caller.kind === 'api')
    throw new DomainError('forbidden', 'node_token_needed', 'Only a node may call this route, with its own token.');
  if (access === 'api' && caller.kind !== 'api') {
    throw new DomainError('forbidden', 'api_token_needed', "This route needs an API token; a node's token does not grant access.");
  }
}

function actorOf(access: RouteAccess, caller: Caller): string {
  if (caller.kind === 'enrolled_node' || caller.kind === 'sharing_node') return `node:${caller.nodeId ?? 'unnamed'}`;
  if (caller.kind === 'api') return caller.actor;
  return access === 'node' ? 'node:unnamed' : 'api:token';
}

function invalidToken(): DomainError {
  return new DomainError('unauthenticated', 'token_invalid', 'The token is not valid for this service.');
}
