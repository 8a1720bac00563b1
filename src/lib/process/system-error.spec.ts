import { describe, expect, it } from '@jest/globals';
import { errnoOf } from './system-error.js';

describe('the code of an operating system error', () => {
  it.each([
    ['of the operating system', { code: 'ENOENT' }, 'ENOENT'],
    ['of Node.js', { code: 'ERR_INVALID_ARG_TYPE' }, null],
    ['of PostgreSQL', { code: '57P03' }, null],
    ['of none', new Error('ENOENT'), null],
    ['of no error', null, null],
  ])('%s', (_, thrown, errno) => {
    expect(errnoOf(thrown)).toBe(errno);
  });
});
