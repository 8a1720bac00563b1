import type { NestExpressApplication } from '@nestjs/platform-express';
import request from 'supertest';
import type { AccessTokens } from '../../src/lib/http/access-tokens.js';

export interface ServedRoute {
  readonly method: string;
  /** Template, such as `/api/v1/backups/:id`. */
  readonly path: string;
}

export type ObservedAccess = 'public' | 'api' | 'node';

/** All routes that the application serves, from its router itself: also those that no controller declares. */
export function servedRoutes(app: NestExpressApplication): ServedRoute[] {
  return app
    .getHttpAdapter()
    .getInstance()
    .router.stack.flatMap(({ route }) => {
      if (!route) return [];
      return [...new Set(route.stack.map(({ method }) => method.toUpperCase()))].map((method) => ({ method, path: route.path }));
    });
}

/**
 * Calls a route with no token, a wrong one and the two right ones, and tells from the answers who may pass. The guard runs before anything of a handler;
 * a token that passes is only ever tried on routes that the other tokens did not pass, and with a body that no handler accepts.
 * @throws Error when the answers fit no kind of access
 */
export async function observeAccess(app: NestExpressApplication, route: ServedRoute, tokens: AccessTokens): Promise<ObservedAccess> {
  const path = route.path.replaceAll(/[:*]\w+/g, '00000000-0000-4000-8000-000000000000').replaceAll(/[{}]/g, '');
  const call = async (token: string | null): Promise<{ status: number; code: unknown }> => {
    const sent = request(app.getHttpServer())[methodOf(route.method)](path).set('Accept', 'application/json');
    if (token !== null) void sent.set('Authorization', `Bearer ${token}`);
    const answer = route.method === 'GET' ? await sent : await sent.send({ unknown_member_of_the_route_walk: true });
    const body: unknown = answer.body;
    return { status: answer.status, code: typeof body === 'object' && body !== null ? Reflect.get(body, 'code') : null };
  };
  const none = await call(null);
  if (none.status !== 401) return 'public';
  const wrong = await call('a-token-that-nobody-has');
  if (wrong.status !== 401) throw new Error(`${route.method} ${route.path}: a wrong token gets ${wrong.status}`);
  const node = await call(tokens.nodeToken);
  if (node.status === 403 || node.status === 401) return 'api';
  const api = await call(tokens.apiToken);
  if (api.status !== 403) throw new Error(`${route.method} ${route.path}: opens to both tokens (node ${node.status}, API ${api.status})`);
  return 'node';
}

function methodOf(method: string): 'get' | 'post' | 'put' | 'patch' | 'delete' | 'head' | 'options' {
  const lower = method.toLowerCase();
  switch (lower) {
    case 'get':
    case 'post':
    case 'put':
    case 'patch':
    case 'delete':
    case 'head':
    case 'options':
      return lower;
    default:
      throw new Error(`no route here should have the method ${method}`);
  }
}
