export type JsonRecord = Readonly<Record<string, unknown>>;

/** A JSON object as a tool printed it; an empty one for anything else, so that what is missing is simply not there. */
export function object(value: unknown): JsonRecord {
  // Checked just here; members stay unknown.
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonRecord) : {};
}
