import type { JsonObject } from './json.js';

/**
 * A fact as a decider emits it and as it is stored.
 * Members of `data` are snake_case, because they reach the API and manifests unchanged.
 * A stored type never changes its shape: a new shape is a new type (`...V2`) with an upcaster.
 */
export interface DomainEvent<Type extends string = string, Data extends JsonObject = JsonObject> {
  readonly type: Type;
  readonly data: Data;
}
