import { describe, expect, it } from '@jest/globals';
import type { JsonObject } from '../../../kernel/json.js';
import { decodeCursor, encodeCursor, pageOf } from './cursor-page.js';

const isKey = (key: JsonObject): key is { id: string } => typeof key['id'] === 'string' && Object.keys(key).length === 1;

describe('cursors', () => {
  it('survive encoding and decoding, and are safe in a URL', () => {
    const cursor = encodeCursor({ id: 'größe/?&=💾' });
    expect(encodeURIComponent(cursor)).toBe(cursor);
    expect(decodeCursor(cursor, isKey)).toEqual({ id: 'größe/?&=💾' });
    expect(decodeCursor(undefined, isKey)).toBeNull();
  });

  it.each(['', '!', 'e30', encodeCursor({ other: 1 }), encodeCursor({ id: 5 }), Buffer.from('[1]').toString('base64url'), 'x'.repeat(3000)])(
    'anything but a cursor of the list is refused: %.20s',
    (cursor) => {
      expect(() => decodeCursor(cursor, isKey)).toThrow(expect.objectContaining({ kind: 'invalid', code: 'cursor_invalid' }));
    },
  );
});

describe('a cursor forged by a client', () => {
  const any = (key: JsonObject): key is JsonObject => Object.keys(key).length > 0;

  it.each([
    { id: '\0' },
    { id: 'a\0b' },
    { id: '\ud800' },
    { revision: 2 ** 31 - 1 },
    { revision: -1 },
    { revision: 1.5 },
    { revision: 1e300 },
    { id: null },
    { id: ['x'] },
    { id: { x: 1 } },
    { id: true },
  ])('must follow the rules of query values: %j', (key) => {
    expect(() => decodeCursor(encodeCursor(key), any)).toThrow(expect.objectContaining({ code: 'cursor_invalid' }));
  });
});

describe('a page', () => {
  const page = (rows: readonly number[]) =>
    pageOf(
      'things',
      rows,
      2,
      (row) => ({ id: String(row) }),
      (row) => ({ row }),
    );

  it('has a cursor at its last entry while more follow', () => {
    const { things, next_cursor } = page([1, 2, 3]);
    expect(things).toEqual([{ row: 1 }, { row: 2 }]);
    expect(decodeCursor(next_cursor ?? undefined, isKey)).toEqual({ id: '2' });
  });

  it('has no cursor at the end, even if it is exactly full or empty', () => {
    expect(page([1, 2]).next_cursor).toBeNull();
    expect(page([])).toEqual({ things: [], next_cursor: null });
  });
});
