import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { makeDataDirectory, readOrMakeId, readOrMakeToken, readToken, writeWhole } from './kept-files.js';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sendense-kept-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

const modeOf = (path: string): number => statSync(path).mode & 0o777;

describe('a token', () => {
  it('is created once, from 32 random bytes, readable by its owner only', () => {
    const file = join(folder, 'deeper', 'api.token');
    const token = readOrMakeToken(file);
    expect(Buffer.from(token, 'base64url')).toHaveLength(32);
    expect(modeOf(file)).toBe(0o600);
    expect(readOrMakeToken(file)).toBe(token);
    expect(readdirSync(join(folder, 'deeper'))).toEqual(['api.token']);
  });

  it('differs from every other', () => {
    expect(readOrMakeToken(join(folder, 'a'))).not.toBe(readOrMakeToken(join(folder, 'b')));
  });

  it('is made private again when others could read it', () => {
    const file = join(folder, 'token');
    const token = readOrMakeToken(file);
    chmodSync(file, 0o644);
    expect(readToken(file)).toBe(token);
    expect(modeOf(file)).toBe(0o600);
  });

  it.each(['', 'short', 'two words are not a token'])('is not %j: the error names the file without its content', (content) => {
    const file = join(folder, 'token');
    writeFileSync(file, content);
    expect(() => readOrMakeToken(file)).toThrow(`${file} does not hold a token`);
  });

  it('is null when there is no file', () => {
    expect(readToken(join(folder, 'none'))).toBeNull();
  });
});

it('creates an id once', () => {
  const file = join(folder, 'hub.id');
  const id = readOrMakeId(file);
  expect(id).toMatch(/^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/);
  expect(readOrMakeId(file)).toBe(id);
});

it('replaces a file atomically', () => {
  const file = join(folder, 'hub.url');
  writeWhole(file, 'one\n');
  writeWhole(file, 'two\n');
  expect(readFileSync(file, 'utf8')).toBe('two\n');
  expect(readdirSync(folder)).toEqual(['hub.url']);
});

it('creates a private data directory, and names the one that it cannot create', () => {
  makeDataDirectory(join(folder, 'data'));
  expect(modeOf(join(folder, 'data'))).toBe(0o700);
  writeFileSync(join(folder, 'file'), '');
  expect(() => {
    makeDataDirectory(join(folder, 'file', 'data'));
  }).toThrow(`the data directory ${join(folder, 'file', 'data')} cannot be created`);
});
