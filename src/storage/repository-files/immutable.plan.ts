import type { NamedAttribute } from '../../lib/files/immutable-attribute.js';
import { MANIFEST_FILE, SIGNATURE_FILE } from './manifest.js';

/** Of the files of a restore point. */
export type Immutable = 'all' | 'some' | 'none' | 'unknown';

/**
 * @param found names in its folder
 * @param diskFiles names of its disk files; the lists of their blocks begin with these
 */
export function immutableOf(found: readonly NamedAttribute[], diskFiles: readonly string[]): Immutable {
  if (found.length === 0) return 'unknown';
  const required = new Set([MANIFEST_FILE, ...diskFiles]);
  const own = found.filter(({ name }) => required.has(name) || name === SIGNATURE_FILE || diskFiles.some((file) => name.startsWith(`${file}.`)));
  const locked = own.filter(({ immutable }) => immutable);
  if (locked.length === 0) return 'none';
  const present = own.filter(({ name }) => required.has(name)).length;
  return locked.length === own.length && present === required.size ? 'all' : 'some';
}
