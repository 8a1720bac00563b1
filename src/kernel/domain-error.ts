import type { JsonObject } from './json.js';

/**
 * The category of a refusal. Only the HTTP filter maps a kind to a status code.
 * - `invalid`: the input breaks a rule; `unprocessable`: well-formed, but contradicts an earlier request
 * - `not_found`, `gone`, `conflict`: the addressed resource or its state does not allow the request
 * - `unavailable`: a resource is exhausted or down and may come back; `storage_full`: a repository has no space
 * - `upstream_unreachable`, `upstream_broken`, `upstream_silent`: the node is unreachable, sends an invalid answer, or does not answer in time
 */
export type ErrorKind =
  | 'invalid'
  | 'unauthenticated'
  | 'forbidden'
  | 'not_found'
  | 'gone'
  | 'conflict'
  | 'unprocessable'
  | 'unavailable'
  | 'storage_full'
  | 'upstream_unreachable'
  | 'upstream_broken'
  | 'upstream_silent';

/**
 * A refusal by a domain rule. `code` is stable and snake_case; the message names the resource, the problem and the remedy; `facts` are the figures behind it.
 * Never contains a secret, because logs and API answers show it unchanged.
 */
export class DomainError extends Error {
  override readonly name = 'DomainError';

  constructor(
    readonly kind: ErrorKind,
    readonly code: string,
    message: string,
    readonly facts: JsonObject = {},
  ) {
    super(message);
  }
}
