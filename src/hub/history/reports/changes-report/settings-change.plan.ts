import type { JsonObject, JsonValue } from '../../../../kernel/json.js';

/** Every setting that an edit changed: `retention.keep_daily: 7 -> 3`; null: none. */
export function settingsChange(before: JsonObject, after: JsonObject): string | null {
  const [old, current] = [flat(before), flat(after)];
  const names = [...new Set([...old.keys(), ...current.keys()])].filter((name) => text(old.get(name)) !== text(current.get(name)));
  return names.length === 0 ? null : names.map((name) => `${name}: ${text(old.get(name))} -> ${text(current.get(name))}`).join('; ');
}

/** A setting that is null and one that is left out mean the same. */
function flat(settings: JsonObject, prefix = ''): ReadonlyMap<string, JsonValue> {
  const entries = Object.entries(settings).flatMap(([name, value]): (readonly [string, JsonValue])[] =>
    isObject(value) ? [...flat(value, `${prefix}${name}.`)] : value === null || value === undefined ? [] : [[`${prefix}${name}`, value]],
  );
  return new Map(entries);
}

function text(value: JsonValue | undefined): string {
  if (value === undefined || value === null) return 'none';
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map(text).join(', ');
  // A rule of a selection has these two members.
  if (isObject(value)) return 'by' in value ? `${text(value['by'])}=${text(value['value'])}` : JSON.stringify(value);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
