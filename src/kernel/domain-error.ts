import type { JsonObject } from './json.js';

/**
 * What sort of refusal an error is. The HTTP filter alone turns a kind into a status code.
 * - `invalid`: the input breaks a rule; `unprocessable`: well-formed, but contradicts an earlier request
 * - `not_found`, `gone`, `conflict`: about the thing addressed and its state
 * - `unavailable`: a resource is spent or down and may come back; `storage_full`: a repository has no space
 * - `upstream_unreachable`, `upstream_broken`, `upstream_silent`: the node cannot be reached, talks nonsense, or does not answer in time
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
 * A refusal by a rule of the domain. `code` is stable and snake_case; the message names the thing, what was wrong and what to do;
 * `facts` are the figures behind it. Never holds a secret: it reaches logs and API answers as it is.
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
