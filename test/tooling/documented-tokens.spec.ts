import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';

const ROOT = join(import.meta.dirname, '..', '..');

/** Pages and programs that show commands to people. */
function pages(): readonly string[] {
  const docs = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' }).map((file) => join('docs', file));
  const demo = readdirSync(join(ROOT, 'demo'), { recursive: true, encoding: 'utf8' }).map((file) => join('demo', file));
  return ['README.md', ...docs, ...demo].filter((file) => /\.(md|ts|sh)$/.test(file));
}

describe('the commands that pages show', () => {
  it("never have a token in curl's arguments, where every account of the machine could read it", () => {
    const shown = pages().flatMap((file) =>
      readFileSync(join(ROOT, file), 'utf8')
        .split('\n')
        .flatMap((line, index) =>
          /(-H|--header)[ =]*\\?["']Authorization|(-u|--user|--oauth2-bearer)[ =]\S*(TOKEN|token)/.test(line) ? [`${file}:${index + 1}`] : [],
        ),
    );
    expect(shown).toEqual([]);
  });
});
