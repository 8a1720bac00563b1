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
  it('returns one URI per disk, for any disk key', () => {
    const keys = ['disk 1, a:b.qcow2', 'ä%.raw'];
    const text = keys.map((key, index) => `${encodeURIComponent(key)}:nbds://127.0.0.1:1010${index}/e-${index}`).join(',');
    expect([...parseNbdTargets(text, keys)]).toEqual([
      ['disk 1, a:b.qcow2', 'nbds://127.0.0.1:10100/e-0'],
      ['ä%.raw', 'nbds://127.0.0.1:10101/e-1'],
    ]);
    expect(parseNbdTargets('a:nbd://[::1]:10100/e', ['a']).get('a')).toBe('nbd://[::1]:10100/e');
    const socket = 'nbd+unix:///e?socket=%2Frun%2Fa%2Cb%2Fnbd.sock';
    expect(parseNbdTargets(`a:${socket}`, ['a']).get('a')).toBe(socket);
  });

  it.each([
    '',
    'a',
    'a:nbd://h/e',
    'a:nbd://h:1',
    'a:nbd+unix:///e?socket=x',
    'a:nbd+unix:///e?socket=%2Fx&tls-psk-file=%2Fy',
    'a:nbd+unix:///e',
    'a:nbds+unix:///e?socket=%2Fx',
    'a:nbds://u@h:1/e',
    'a:nbds://h:1/e?tls-psk-file=%2Fy',
    'a:nbd://u:p@h:1/e',
    'a:nbd://h:1/e?x=1',
    'a:http://h:1/e',
    '%:nbd://h:1/e',
    'a:nbd://h:1/e ,',
  ])('refuses %j', (text) => {
    expect(codeOf(text, ['a'])).toBe('nbd_targets_malformed');
  });

  it('refuses a disk without a target, a target without a disk, and two targets for one disk', () => {
    expect(codeOf('a:nbd://h:1/e', ['a', 'b'])).toBe('nbd_targets_mismatch');
    expect(codeOf('a:nbd://h:1/e,b:nbd://h:2/e', ['a'])).toBe('nbd_targets_mismatch');
    expect(codeOf('a:nbd://h:1/e,a:nbd://h:2/e', ['a'])).toBe('nbd_targets_mismatch');
  });
});
