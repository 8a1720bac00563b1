import { HttpProblem } from '../../../lib/http/problem.js';

export interface ByteRange {
  readonly start: number;
  readonly length: number;
}

/**
 * The single range that a `Range` header requests out of `size` bytes; null: send everything. Multiple ranges and other units yield everything, as RFC
 * 9110 allows.
 * @throws HttpProblem 416 if none of the bytes exist
 */
export function byteRangeOf(header: string | undefined, size: number): ByteRange | null {
  const [, first, last] = /^bytes=(\d{0,16})-(\d{0,16})$/.exec(header?.replaceAll(' ', '') ?? '') ?? [];
  if (first === undefined || last === undefined || (first === '' && last === '')) return null;
  if (first === '') {
    const length = Math.min(Number(last), size);
    if (length === 0) throw unsatisfiable(size);
    return { start: size - length, length };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return null;
  if (start >= size) throw unsatisfiable(size);
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  return { start, length: end - start + 1 };
}

function unsatisfiable(size: number): HttpProblem {
  return new HttpProblem(
    416,
    'range_not_satisfiable',
    `The range starts after the end of the ${size} bytes.`,
    { size },
    { 'Content-Range': `bytes */${size}` },
  );
}
