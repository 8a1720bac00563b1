import { describe, expect, it } from '@jest/globals';
import { DomainError } from '../../kernel/domain-error.js';
import { parseNbdTargets } from './nbd-targets.plan.js';

function codeOf(text: string, keys: readonly string[]): string | null {
  try {
    parseNbdTargets(text, keys);
    return null;
  } catch (error) {
    return error instanceof DomainError ? error.code : 'no domain error';
  }
}

describe('nbd_targets_string', () => {
  it('gives one URI per disk, whatever the disk is called', () => {
    const keys = ['disk 1, a:b.qcow2', 'ä%.raw'];
    const text = keys.map((key, index) => `${encodeURIComponent(key)}:nbd://127.0.0.1:1010${index}/e-${index}`).join(',');
    expect([...parseNbdTargets(text, keys)]).toEqual([
      ['disk 1, a:b.qcow2', 'nbd://127.0.0.1:10100/e-0'],
      ['ä%.raw', 'nbd://127.0.0.1:10101/e-1'],
    ]);
    expect(parseNbdTargets('a:nbd://[::1]:10100/e', ['a']).get('a')).toBe('nbd://[::1]:10100/e');
  });

  it.each(['', 'a', 'a:nbd://h/e', 'a:nbd://h:1', 'a:nbd+unix:///e?socket=/x', 'a:nbd://u:p@h:1/e', 'a:nbd://h:1/e?x=1', '%:nbd://h:1/e', 'a:nbd://h:1/e ,'])(
    'refuses %j',
    (text) => {
      expect(codeOf(text, ['a'])).toBe('nbd_targets_malformed');
    },
  );

  it('refuses a disk without a target, a target without a disk, and two targets of one disk', () => {
    expect(codeOf('a:nbd://h:1/e', ['a', 'b'])).toBe('nbd_targets_mismatch');
    expect(codeOf('a:nbd://h:1/e,b:nbd://h:2/e', ['a'])).toBe('nbd_targets_mismatch');
    expect(codeOf('a:nbd://h:1/e,a:nbd://h:2/e', ['a'])).toBe('nbd_targets_mismatch');
  });
});
