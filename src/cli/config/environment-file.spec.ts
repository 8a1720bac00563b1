import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parseEnvironmentFile, withEnvironmentFile } from './environment-file.js';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sendense-environment-'));
  writeFileSync(join(folder, 'hub.env'), 'DATABASE_URL=postgres://from-the-file\nTZ=UTC\n');
});

afterAll(() => rmSync(folder, { recursive: true }));

describe('a systemd environment file', () => {
  it('is parsed line by line, with and without quotes', () => {
    const text = `# DATABASE_URL=postgres://no\n; neither\n\nDATABASE_URL=postgres://u:p=1@h/d?x='y'  \n A="b c"\nB='d'\nC=\nnot a variable\n`;
    expect(parseEnvironmentFile(text)).toEqual({ DATABASE_URL: "postgres://u:p=1@h/d?x='y'", A: 'b c', B: 'd', C: '' });
  });

  it('adds only variables that the environment lacks', () => {
    const file = join(folder, 'hub.yaml');
    expect(withEnvironmentFile(file, { TZ: 'Europe/Vienna' })).toEqual({ DATABASE_URL: 'postgres://from-the-file', TZ: 'Europe/Vienna' });
    expect(withEnvironmentFile(join(folder, 'nowhere/hub.yaml'), { TZ: 'UTC' })).toEqual({ TZ: 'UTC' });
    expect(withEnvironmentFile(undefined, { TZ: 'UTC' })).toEqual({ TZ: 'UTC' });
  });
});
