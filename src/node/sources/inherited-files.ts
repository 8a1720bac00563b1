/** 0 to 2 are the standard streams; a tool can be given 3 for output. */
export const FIRST_INHERITED = 4;

/**
 * The path by which a tool opens an inherited file: the same file, whatever its original path refers to now. The tool opens it again, so it needs the
 * permission. @param index among the inherited files
 */
export function inheritedName(index: number): string {
  return `/proc/self/fd/${FIRST_INHERITED + index}`;
}
