/** 0 to 2 are the standard streams, 3 is for what a tool is told to write there. */
export const FIRST_INHERITED = 4;

/** By which a tool opens a file that it has inherited: the same file, whatever has become of its path. It is opened once more, so the tool needs the right to. @param index among those inherited */
export function inheritedName(index: number): string {
  return `/proc/self/fd/${FIRST_INHERITED + index}`;
}
