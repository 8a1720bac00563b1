export type JsonRecord = Readonly<Record<string, unknown>>;

/** Narrows a tool's JSON value to an object; anything else becomes an empty one, so that missing members are simply undefined. */
export function object(value: unknown): JsonRecord {
  // Checked here; members remain unknown.
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonRecord) : {};
}
