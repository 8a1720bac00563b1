/**
 * Code of an operating system error (`ENOENT`, ...: errno(3)); null for anything else, including errors of Node.js (`ERR_INVALID_ARG_TYPE`) and PostgreSQL
 * (`57P03`), which also have a `code`. Does not use `instanceof Error`: errors may come from another realm.
 */
export function errnoOf(error: unknown): string | null {
  if (typeof error !== 'object' || error === null || !('code' in error) || typeof error.code !== 'string') return null;
  return /^E[A-Z0-9]+$/.test(error.code) ? error.code : null;
}

/** Whether a file system, or the caller's quota, was full. */
export function isOutOfSpace(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes(errnoOf(error) ?? '');
}
