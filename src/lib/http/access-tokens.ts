import { createHash, timingSafeEqual } from 'node:crypto';

/** Injection token of AccessTokens. */
export const ACCESS_TOKENS = Symbol('ACCESS_TOKENS');

export interface AccessTokens {
  /** Grants access to every route except node-only ones. */
  readonly apiToken: string;
  /** Grants access to the node-only routes. */
  readonly nodeToken: string;
  /** The actor of an API token; null: not an API token. When absent, the only API token is `apiToken`. */
  actorOf?(presented: string): string | null;
}

/** `api:token`, or `api:<name>` for a named token; null: not an API token. */
export function apiActorOf(tokens: AccessTokens, presented: string): string | null {
  if (tokens.actorOf !== undefined) return tokens.actorOf(presented);
  return sameToken(presented, tokens.apiToken) ? 'api:token' : null;
}

/** Compares in constant time: digests have the same length for any input, so neither content nor length leaks. */
export function sameToken(presented: string, expected: string): boolean {
  return expected !== '' && timingSafeEqual(digest(presented), digest(expected));
}

/** The token of an `Authorization: Bearer` header (RFC 6750); null when there is none. */
export function bearerTokenOf(authorization: string | undefined): string | null {
  return /^Bearer +([A-Za-z0-9._~+/=-]+) *$/i.exec(authorization ?? '')?.[1] ?? null;
}

/** The password of an `Authorization: Basic` header; null when there is none. */
export function basicPasswordOf(authorization: string | undefined): string | null {
  const credentials = /^Basic +([A-Za-z0-9+/=]+) *$/i.exec(authorization ?? '')?.[1];
  if (credentials === undefined) return null;
  const decoded = Buffer.from(credentials, 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  return colon === -1 ? null : decoded.slice(colon + 1);
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
