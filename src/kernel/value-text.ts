import { bytesText } from './bytes-text.js';

/** What a value is, for those who show it. An `id` is for programs. */
export type ValueUnit = 'text' | 'id' | 'time' | 'seconds' | 'bytes' | 'count' | 'percent';

export type Value = string | number | boolean | null;

/** A value as people read it; null is a dash. Control characters become spaces: a name must not move a terminal's cursor. */
export function valueText(unit: ValueUnit, value: Value): string {
  if (value === null) return '-';
  if (typeof value === 'number' && unit === 'seconds') return durationText(value);
  if (typeof value === 'number' && unit === 'bytes') return bytesText(value);
  if (typeof value === 'number' && unit === 'percent') return `${value} %`;
  const text = unit === 'time' ? String(value).replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?Z$/, '$1 $2 UTC') : String(value);
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]/gu, ' ');
}

/** The two largest units: `3 d 4 h`, `59 s`. */
function durationText(seconds: number): string {
  const parts: readonly (readonly [number, string])[] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [Math.floor(seconds) % 60, 's'],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first === -1) return '0 s';
  return parts
    .slice(first, first + 2)
    .flatMap(([count, unit]) => (count > 0 ? [`${count} ${unit}`] : []))
    .join(' ');
}
