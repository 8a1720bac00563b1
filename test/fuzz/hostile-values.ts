import fc from 'fast-check';
import type { Json } from '../support/api-contract.js';

/** Texts that have hurt programs before: of encodings, terminals, shells, paths, SQL, templates and of JavaScript itself. */
const HOSTILE_TEXTS: readonly string[] = [
  '',
  ' ',
  '\0',
  'a\0b',
  '\ud800',
  '\udfff\ud800',
  'a\u202eb',
  '\u{1f4a9}\ufe0f',
  'e\u0301'.repeat(50),
  '\r\nX-Injected: 1',
  '\u001b[31m',
  '../../../../etc/passwd',
  '..%2f..%2fetc',
  '%00',
  '%zz',
  '.',
  '..',
  '-rf',
  '$(id)',
  '`id`',
  "'; drop table events; --",
  '{{7*7}}',
  '<script>alert(1)</script>',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  'null',
  'undefined',
  'NaN',
  '-0',
  '1e309',
  '9223372036854775808',
  '99999999999999999999',
  '2026-W48-1',
  '2026-325',
  '0000-00-00T00:00:00Z',
  '9999-12-31T23:59:59.999Z',
  '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff',
  'a'.repeat(255),
  'ü'.repeat(256),
  '😀'.repeat(1_000),
  'a'.repeat(5_000),
  'b'.repeat(100_000),
];

const HOSTILE_NUMBERS: readonly number[] = [0, -0, -1, 1.5, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 1e21, 1e308, Number.MIN_VALUE];

export const hostileText: fc.Arbitrary<string> = fc.oneof(
  { arbitrary: fc.constantFrom(...HOSTILE_TEXTS), weight: 3 },
  { arbitrary: fc.string({ unit: 'binary', maxLength: 40 }), weight: 1 },
  { arbitrary: fc.string({ unit: 'grapheme', maxLength: 300 }), weight: 1 },
);

/** Any JSON at all; what is deep or made of texts of our list comes with it. JSON.parse gives JSON by definition; its declared type is the looser any. */
export const hostileValue: fc.Arbitrary<Json> = fc.oneof(
  { arbitrary: hostileText, weight: 4 },
  { arbitrary: fc.constantFrom(...HOSTILE_NUMBERS), weight: 2 },
  { arbitrary: fc.constantFrom<Json>(null, true, false, [], {}, [[]], [null], [{}]), weight: 3 },
  { arbitrary: fc.json({ maxDepth: 4 }).map((text) => JSON.parse(text) as Json), weight: 2 },
  { arbitrary: fc.integer({ min: 2, max: 60 }).map(nested), weight: 1 },
);

/** Names that an object has without having been given them, and others that no body knows. */
export const unknownName: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom('constructor', '__proto__', 'prototype', 'toString', 'valueOf', 'hasOwnProperty', 'then', '', '\0', 'a.b', 'errors', 'x'.repeat(1_000)),
  fc.string({ minLength: 1, maxLength: 20 }),
);

function nested(depth: number): Json {
  let value: Json = 'deep';
  for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}
