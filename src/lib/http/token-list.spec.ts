import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { isValidAt, type NamedToken, readTokenList, TOKEN_NAME, tokenListText } from './token-list.js';

const SHA = 'ab'.repeat(32);
const UNTIL = '2026-11-21T10:00:00.000Z';

describe('the list of tokens', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'sendense-tokens-'));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  function parsed(text: string): readonly NamedToken[] {
    const file = join(folder, 'tokens');
    writeFileSync(file, text);
    return readTokenList(file);
  }

  it('is empty where there is no file', () => {
    expect(readTokenList(join(folder, 'absent'))).toEqual([]);
  });

  it('has one token in each line, with its end where it has one', () => {
    expect(parsed(`ci sha256:${SHA}\nold sha256:${SHA} until ${UNTIL}\n`)).toEqual([
      { name: 'ci', sha256: SHA, until: null },
      { name: 'old', sha256: SHA, until: UNTIL },
    ]);
  });

  it('may have empty lines, comments, and spaces around a line', () => {
    expect(parsed(`# of the team\n\n  ci sha256:${SHA} \r\n  # none below\n`)).toEqual([{ name: 'ci', sha256: SHA, until: null }]);
    expect(parsed('')).toEqual([]);
  });

  it('reads back what it writes', () => {
    const tokens = [
      { name: 'ci', sha256: SHA, until: null },
      { name: 'old', sha256: SHA, until: UNTIL },
    ];
    expect(tokenListText(tokens)).toBe(`ci sha256:${SHA}\nold sha256:${SHA} until ${UNTIL}\n`);
    expect(parsed(tokenListText(tokens))).toEqual(tokens);
  });

  it.each([
    ['a digest that is too short', `ci sha256:${SHA.slice(1)}`],
    ['a digest that is too long', `ci sha256:${SHA}0`],
    ['a digest in capitals', `ci sha256:${SHA.toUpperCase()}`],
    ['a token instead of its digest', `ci ${SHA}`],
    ['a name with capitals', `CI sha256:${SHA}`],
    ['a name that begins with a dot', `.ci sha256:${SHA}`],
    ['no name', `sha256:${SHA}`],
    ['an end that is no time', `ci sha256:${SHA} until tomorrow`],
    ['words behind it', `ci sha256:${SHA} for ever`],
    ['an end without its time', `ci sha256:${SHA} until`],
  ])('is refused as a whole with %s, naming the line and not what it says', (_what, line) => {
    const read = () => parsed(`# first\nother sha256:${SHA}\n${line}\n`);
    expect(read).toThrow('line 3 of the token list');
    expect(read).not.toThrow(line);
  });

  it('has names of 1 to 63 characters', () => {
    expect(TOKEN_NAME.test('a')).toBe(true);
    expect(TOKEN_NAME.test('a'.repeat(63))).toBe(true);
    expect(TOKEN_NAME.test('a'.repeat(64))).toBe(false);
    expect(TOKEN_NAME.test('')).toBe(false);
  });
});

describe('a token', () => {
  it('without an end is valid at any time', () => {
    expect(isValidAt({ name: 'ci', sha256: SHA, until: null }, new Date('9999-01-01T00:00:00Z'))).toBe(true);
  });

  it('is not valid any more from the instant of its end on', () => {
    const token = { name: 'old', sha256: SHA, until: UNTIL };
    expect(isValidAt(token, new Date(Date.parse(UNTIL) - 1))).toBe(true);
    expect(isValidAt(token, new Date(UNTIL))).toBe(false);
    expect(isValidAt(token, new Date(Date.parse(UNTIL) + 1))).toBe(false);
  });
});
