/** A run of bytes of a disk; offset and length in bytes. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

/** Sorts extents, drops empty ones, and joins neighbours and overlaps: fewer lines for the copy tool and longer requests. */
export function mergeExtents(extents: readonly Extent[]): readonly Extent[] {
  const sorted = extents.filter((extent) => extent.length > 0).sort((left, right) => left.offset - right.offset);
  const merged: Extent[] = [];
  for (const extent of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && extent.offset <= last.offset + last.length) {
      const end = Math.max(last.offset + last.length, extent.offset + extent.length);
      merged[merged.length - 1] = { offset: last.offset, length: end - last.offset };
    } else {
      merged.push(extent);
    }
  }
  return merged;
}

/** Widens extents to whole grains, but not beyond the end of the disk, and merges them again. */
export function wholeGrains(extents: readonly Extent[], grain: number, diskBytes: number): readonly Extent[] {
  return mergeExtents(
    extents.map(({ offset, length }) => {
      const from = Math.floor(offset / grain) * grain;
      return { offset: from, length: Math.min(diskBytes, Math.ceil((offset + length) / grain) * grain) - from };
    }),
  );
}

export function totalBytes(extents: readonly Extent[]): number {
  return extents.reduce((sum, extent) => sum + extent.length, 0);
}

/** How many bytes of the extents are before `position`: the copy tool reports its position on the disk, holes included. */
export function bytesBefore(extents: readonly Extent[], position: number): number {
  let bytes = 0;
  for (const extent of extents) {
    if (extent.offset >= position) break;
    bytes += Math.min(extent.length, position - extent.offset);
  }
  return bytes;
}

/** `offset length` lines in decimal, as nbdkit's extentlist filter requires (it refuses hexadecimal). */
export function extentListText(extents: readonly Extent[]): string {
  return extents.map((extent) => `${extent.offset} ${extent.length}\n`).join('');
}

/** @throws Error for a text that extentListText does not write */
export function parseExtentList(text: string): readonly Extent[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const match = /^(\d+) (\d+)$/.exec(line);
      if (match === null) throw new Error(`Not a line of an extent list: ${JSON.stringify(line)}`);
      return { offset: Number(match[1]), length: Number(match[2]) };
    });
}

/** Completed share of the disk, 0 to 1, from the `N/100` lines of nbdcopy or the `(N.NN/100%)` of qemu-img; null before the first complete one. */
export function progressFraction(text: string): number | null {
  const last = [...text.matchAll(/(\d+)\/100\n|\((\d+(?:\.\d+)?)\/100%\)/g)].at(-1);
  return last === undefined ? null : Math.min(1, Number(last[1] ?? last[2]) / 100);
}
