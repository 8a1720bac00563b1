import { describe, expect, it } from '@jest/globals';
import { attachment } from './attachment.js';
import { byteRangeOf } from './byte-range.js';

describe('the range of a download', () => {
  it.each([
    [undefined, null],
    ['bytes=0-9', { start: 0, length: 10 }],
    ['bytes=90-', { start: 90, length: 10 }],
    ['bytes=90-1000', { start: 90, length: 10 }],
    ['bytes=-10', { start: 90, length: 10 }],
    ['bytes=-1000', { start: 0, length: 100 }],
    ['bytes=0-1,5-6', null],
    ['bytes=9-0', null],
    ['bytes=-', null],
    ['lines=0-9', null],
    ['bytes=a-b', null],
  ])('%s', (header, range) => expect(byteRangeOf(header, 100)).toEqual(range));

  it.each(['bytes=100-', 'bytes=100-200', 'bytes=-0'])('refuses %s, which contains no bytes', (header) => {
    expect(() => byteRangeOf(header, 100)).toThrow(expect.objectContaining({ status: 416, headers: { 'Content-Range': 'bytes */100' } }));
  });

  it('refuses every range of an empty file', () => {
    expect(() => byteRangeOf('bytes=0-0', 0)).toThrow(expect.objectContaining({ status: 416 }));
  });
});

describe('the name of a download', () => {
  it.each([
    ['report.txt', `attachment; filename="report.txt"; filename*=UTF-8''report.txt`],
    ['grüße "x".txt', `attachment; filename="gr__e _x_.txt"; filename*=UTF-8''gr%C3%BC%C3%9Fe%20%22x%22.txt`],
    ['a\r\nSet-Cookie: x', `attachment; filename="a__Set-Cookie: x"; filename*=UTF-8''a__Set-Cookie%3A%20x`],
    ['../../x\\y', `attachment; filename=".._.._x_y"; filename*=UTF-8''.._.._x_y`],
    ['..', `attachment; filename="_"; filename*=UTF-8''_`],
    ['', `attachment; filename="download"; filename*=UTF-8''download`],
    ["it's (1)*.txt", `attachment; filename="it's (1)*.txt"; filename*=UTF-8''it%27s%20%281%29%2A.txt`],
  ])('%j', (name, header) => expect(attachment(name)).toBe(header));
});
