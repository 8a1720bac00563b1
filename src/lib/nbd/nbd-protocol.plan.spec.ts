import { describe, expect, it } from '@jest/globals';
import { nbdError, parseBlockStatus, parseChunk, parseChunkError, parseReply, requestHeader } from './nbd-protocol.plan.js';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

describe('a request', () => {
  it.each([
    ['read', '0000'],
    ['write', '0001'],
    ['disconnect', '0002'],
    ['writeZeroes', '0006'],
    ['blockStatus', '0007'],
  ] as const)('to %s has its number', (command, number) => {
    expect(requestHeader({ command, cookie: 0, offset: 0, length: 0 })).toEqual(hex(`25609513 0000 ${number} 0000000000000000 0000000000000000 00000000`));
  });

  it('has its cookie, and an offset of 64 bits', () => {
    expect(requestHeader({ command: 'read', cookie: 0xfedcba98, offset: 2 ** 41 + 512, length: 0x10000 })).toEqual(
      hex('25609513 0000 0000 00000000fedcba98 0000020000000200 00010000'),
    );
  });
});

describe('a simple reply', () => {
  it('has the cookie of its request, and an error or none', () => {
    expect(parseReply(hex('67446698 00000000 00000000 fedcba98'))).toEqual({ cookie: 0xfedcba98, error: 0 });
    expect(parseReply(hex('67446698 0000001c 00000000 00000007'))).toEqual({ cookie: 7, error: 28 });
  });

  it.each([
    ['another magic number', '67446699 00000000 00000000 00000007'],
    ['the magic number of a structured reply', '668e33ef 00000000 00000000 00000007'],
    ['a cookie that was never sent', '67446698 00000000 00000001 00000007'],
  ])('is none with %s', (_what, bytes) => {
    expect(parseReply(hex(bytes))).toBeNull();
  });
});

describe('a piece of a structured reply', () => {
  it.each([
    ['the last one, of nothing', '0001 0000', { last: true, type: 'none' }],
    ['one of block status', '0000 0005', { last: false, type: 'blockStatus' }],
    ['the last one, of block status', '0001 0005', { last: true, type: 'blockStatus' }],
    ['an error', '0001 8001', { last: true, type: 'error' }],
    ['an error with an offset', '0000 8002', { last: false, type: 'error' }],
    ['an error of a later version of the protocol', '0001 ffff', { last: true, type: 'error' }],
    ['data', '0000 0001', { last: false, type: 'other' }],
    ['one with a flag of a later version', '0002 0005', { last: false, type: 'blockStatus' }],
  ])('is %s', (_what, bytes, expected) => {
    expect(parseChunk(hex(`668e33ef ${bytes} 00000000 fedcba98 00000014`))).toEqual({ ...expected, cookie: 0xfedcba98, length: 20 });
  });

  it.each([
    ['another magic number', '668e33ee 0001 0005 00000000 00000007 00000014'],
    ['the magic number of a simple reply', '67446698 0001 0005 00000000 00000007 00000014'],
    ['a cookie that was never sent', '668e33ef 0001 0005 00000001 00000007 00000014'],
  ])('is none with %s', (_what, bytes) => {
    expect(parseChunk(hex(bytes))).toBeNull();
  });
});

describe('a block status', () => {
  it('is a list of stretches, each with its length and flags', () => {
    expect(parseBlockStatus(hex('00000003 00010000 00000000'), 3)).toEqual([{ length: 65_536, flags: 0 }]);
    expect(parseBlockStatus(hex('00000003 00010000 00000000 80000000 00000003'), 3)).toEqual([
      { length: 65_536, flags: 0 },
      { length: 2 ** 31, flags: 3 },
    ]);
  });

  it.each([
    ['it is of another context', '00000004 00010000 00000000'],
    ['it has no stretch', '00000003'],
    ['it is empty', ''],
    ['its last stretch is cut off', '00000003 00010000 00000000 00010000'],
    ['its last stretch is cut off by a byte', '00000003 00010000 000000'],
  ])('is not taken when %s', (_what, bytes) => {
    expect(parseBlockStatus(hex(bytes), 3)).toBeNull();
  });
});

describe('an error', () => {
  it('of a structured reply has its number in front; without one it is 0', () => {
    expect(parseChunkError(hex('00000005 0003 616263'))).toBe(5);
    expect(parseChunkError(hex('000005'))).toBe(0);
  });

  it.each([
    [1, 'EPERM'],
    [5, 'EIO'],
    [12, 'ENOMEM'],
    [22, 'EINVAL'],
    [28, 'ENOSPC'],
    [75, 'EOVERFLOW'],
    [95, 'ENOTSUP'],
    [108, 'ESHUTDOWN'],
  ])('%d is %s', (number, name) => {
    expect(nbdError(number).name).toBe(name);
  });

  it('that the protocol does not know is named by its number', () => {
    expect(nbdError(4711)).toEqual({ name: 'EINVAL', text: 'Error 4711' });
  });
});
