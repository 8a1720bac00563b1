import { createHash, timingSafeEqual } from 'node:crypto';

/** Injection token of AccessTokens. */
export const ACCESS_TOKENS = Symbol('ACCESS_TOKENS');

export interface AccessTokens {
  /** Opens every route but the node-only ones. */
  readonly apiToken: string;
  /** Opens the node-only routes. */
  readonly nodeToken: string;
  /** Whose token of the API this is; null: nobody's. Without it the API has one token, `apiToken`. */
  actorOf?(presented: string): string | null;
}

/** `api:token`, or `api:<name>` of a named token; null: it is no token of the API. */
export function apiActorOf(tokens: AccessTokens, presented: string): string | null {
  if (tokens.actorOf !== undefined) return tokens.actorOf(presented);
  return sameToken(presented, tokens.apiToken) ? 'api:token' : null;
}

/** Compares in constant time: the digests have one length whatever was presented, so neither content nor length leaks. */
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
