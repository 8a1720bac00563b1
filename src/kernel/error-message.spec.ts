import { describe, expect, it } from '@jest/globals';
import { messageOf } from './error-message.js';

describe('what an error says', () => {
  it.each([
    ['an error', new Error('the disk is gone'), 'the disk is gone'],
    ['something that is no error', 'gone', 'gone'],
    ['nothing', undefined, 'undefined'],
    [
      'several errors without a word of their own',
      new AggregateError([new Error('::1 refuses'), new Error('127.0.0.1 refuses')]),
      '::1 refuses; 127.0.0.1 refuses',
    ],
    ['several errors with one', new AggregateError([new Error('::1 refuses')], 'nobody answers'), 'nobody answers'],
  ])('%s', (_, thrown, said) => {
    expect(messageOf(thrown)).toBe(said);
  });
});
