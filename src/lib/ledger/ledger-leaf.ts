import canonicalize from 'canonicalize';
import type { JsonObject } from '../../kernel/json.js';
import { leafHash } from './merkle-tree.js';

/** Metadata of an event that was copied from another store: when that store recorded it first. */
export const RECORDED_AT_BEFORE = '$recordedAt';

/** What a leaf says about an event. */
export interface LedgerEvent {
  readonly stream: string;
  readonly revision: number;
  readonly id: string;
  readonly type: string;
  readonly data: JsonObject;
  readonly metadata: object;
  /** ISO 8601, UTC, milliseconds, by the clock of the store. */
  readonly recordedAt: string;
}

/**
 * The leaf of an event: canonical JSON (RFC 8785) with the members `data`, `id`, `metadata`, `recorded_at`, `revision`, `stream` and `type`. It has no position, and
 * an event that was copied keeps the time at which its first store recorded it. So the same history has the same leaves in every store.
 */
export function leafOf({ stream, revision, id, type, data, metadata, recordedAt }: LedgerEvent): string {
  const { [RECORDED_AT_BEFORE]: before, ...members }: JsonObject = { ...metadata };
  const leaf = { stream, revision, id, type, data, metadata: members, recorded_at: typeof before === 'string' ? before : recordedAt };
  return canonicalize(leaf) ?? '';
}

export function leafHashOf(event: LedgerEvent): Buffer {
  return leafHash(Buffer.from(leafOf(event)));
}
