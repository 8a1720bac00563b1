import { describe, expect, it } from '@jest/globals';
import { messageOf } from './error-message.js';

describe('messageOf', () => {
  it.each([
    ['an error', new Error('the disk is gone'), 'the disk is gone'],
    ['a value that is not an error', 'gone', 'gone'],
    ['nothing', undefined, 'undefined'],
    ['an AggregateError without a message', new AggregateError([new Error('::1 refuses'), new Error('127.0.0.1 refuses')]), '::1 refuses; 127.0.0.1 refuses'],
    ['an AggregateError with a message', new AggregateError([new Error('::1 refuses')], 'nobody answers'), 'nobody answers'],
  ])('%s', (_, thrown, said) => {
    expect(messageOf(thrown)).toBe(said);
  });
});
