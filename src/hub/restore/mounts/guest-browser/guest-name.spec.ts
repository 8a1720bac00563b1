import { describe, expect, it } from '@jest/globals';
import { bytesOf, encodeNames, percentEncode, utf8Of } from './guest-name.js';
import { parsePath, smallestAfter } from './guest-tree.js';

const latin1 = (...bytes: readonly number[]): string => Buffer.from(bytes).toString('latin1');

describe('names of a guest', () => {
  it('are returned unchanged if they are UTF-8', () => {
    const name = Buffer.from('grüße 日本\n"%"').toString('latin1');
    expect(utf8Of(name)).toBe('grüße 日本\n"%"');
    expect(encodeNames([name, null])).toEqual({ encoding: 'utf-8', texts: ['grüße 日本\n"%"', null] });
  });

  it.each([
    [latin1(0x61, 0xff, 0x62), 'a%FFb'],
    [latin1(0xc3, 0xbc, 0xc3), 'ü%C3'],
    [latin1(0xc0, 0xae, 0xc0, 0xae), '%C0%AE%C0%AE'],
    [latin1(0xed, 0xa0, 0x80), '%ED%A0%80'],
    [latin1(0xf4, 0x90, 0x80, 0x80), '%F4%90%80%80'],
    [latin1(0x25, 0x0a, 0xfe), '%25%0A%FE'],
  ])('survive a round trip byte for byte if they are not', (name, text) => {
    expect(utf8Of(name)).toBeNull();
    expect(percentEncode(name)).toBe(text);
    expect(bytesOf(text, 'percent')).toBe(name);
  });

  it('survive a round trip for every byte', () => {
    const every = latin1(...Array.from({ length: 255 }, (_, index) => index + 1));
    expect(bytesOf(percentEncode(every), 'percent')).toBe(every);
  });

  it('are encoded together, so that one flag applies to all', () => {
    expect(encodeNames(['a%', latin1(0xff)])).toEqual({ encoding: 'percent', texts: ['a%25', '%FF'] });
  });
});

describe('paths of a client', () => {
  it('are relative to the root', () => {
    expect(parsePath({ path: '//etc/./hosts/', encoding: 'utf-8' })).toEqual(['etc', 'hosts']);
    expect(parsePath({ path: '/', encoding: 'utf-8' })).toEqual([]);
    expect(parsePath({ path: '/%FF', encoding: 'percent' })).toEqual([latin1(0xff)]);
  });

  it.each([
    ['/../x', 'utf-8'],
    ['a/../../x', 'utf-8'],
    ['/a\0b', 'utf-8'],
    ['/%2e%2e/x', 'percent'],
    ['/%2E/x', 'percent'],
    ['/a%2Fb', 'percent'],
    ['/a%00', 'percent'],
    ['/a%', 'percent'],
    ['/a%G0', 'percent'],
  ] as const)('are refused when they leave the root or are malformed: %j as %s', (path, encoding) => {
    expect(() => parsePath({ path, encoding })).toThrow(expect.objectContaining({ code: 'path_invalid' }));
  });
});

describe('a page of a large directory', () => {
  const names = Array.from({ length: 5_000 }, (_, index) => `n${(index * 7919) % 5_000}`);
  const sorted = names.toSorted((a, b) => (a < b ? -1 : 1));

  it.each([null, 'n', 'n250', 'n9', 'zzz'])('is the same with and without sorting, after %s', (after) => {
    const expected = sorted.filter((name) => after === null || name > after).slice(0, 101);
    expect(smallestAfter(names, false, after, 101)).toEqual(expected);
    expect(smallestAfter(sorted, true, after, 101)).toEqual(expected);
  });
});
