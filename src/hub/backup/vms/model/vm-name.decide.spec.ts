import { describe, expect, it } from '@jest/globals';
import { brokenVmNameRule, MAX_VM_NAME_BYTES, MAX_VM_NAME_CHARACTERS, requireLegalVmName } from './vm-name.decide.js';

describe('the name of a VM', () => {
  it.each(['pgtest1', 'Büro Server 2', '数据库', 'Ελλάδα 🐘', 'web (old)', 'a.b-c_d', '...', 'x'.repeat(128), '界'.repeat(85), 'é'.repeat(127)])(
    'may be "%s"',
    (name) => {
      expect(brokenVmNameRule(name)).toBeNull();
    },
  );

  it.each([
    ['', 'length'],
    ['x'.repeat(129), 'length'],
    ['x'.repeat(300), 'length'],
    ['界'.repeat(86), 'bytes'],
    ['🐘'.repeat(64), 'bytes'],
    ['é'.repeat(128), 'bytes'],
    ['\ud800', 'broken_unicode'],
    ['a\0b', 'control_characters'],
    ['a\nb', 'control_characters'],
    ['a\u2028b', 'control_characters'],
    ['invoice\u202efdp', 'control_characters'],
    ['a/b', 'slashes'],
    ['../etc', 'slashes'],
    ['a\\b', 'slashes'],
    ['.', 'dots'],
    ['..', 'dots'],
    [' a', 'outer_spaces'],
    ['a ', 'outer_spaces'],
    ['\u00a0a', 'outer_spaces'],
    ...Array.from(';|&$`<>"\'*?!', (character) => [`a${character}b`, 'shell_metacharacters']),
    ['$(reboot)', 'shell_metacharacters'],
  ])('may not be %j: %s', (name, rule) => {
    expect(brokenVmNameRule(name)?.rule).toBe(rule);
  });

  it('has at most 128 characters of any script and 255 bytes', () => {
    expect(MAX_VM_NAME_CHARACTERS).toBe(128);
    expect(MAX_VM_NAME_BYTES).toBe(255);
  });

  it('is refused with the rule that it breaks, and with what that asks', () => {
    expect(() => requireLegalVmName('web')).not.toThrow();
    expect(() => requireLegalVmName('a/b')).toThrow(
      expect.objectContaining({
        kind: 'invalid',
        code: 'vm_name_invalid',
        message: 'The name of a VM must not contain slashes or backslashes.',
        facts: { field: 'name', rule: 'slashes' },
      }),
    );
  });
});
