/** Code of an operating system error (`ENOENT`, ...); null for anything else. Does not ask for `instanceof Error`: errors may come from another realm. */
export function errnoOf(error: unknown): string | null {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : null;
}

/** Whether a file system, or the caller's share of it, was full. */
export function isOutOfSpace(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes(errnoOf(error) ?? '');
}
