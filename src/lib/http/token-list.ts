import { readFileSync } from 'node:fs';
import { errnoOf } from '../process/system-error.js';

/** One line of the list: `<name> sha256:<digest>`, and for a token that expires, ` until <ISO 8601>`. The token itself is not stored. */
export interface NamedToken {
  readonly name: string;
  /** Hexadecimal. */
  readonly sha256: string;
  /** ISO 8601, UTC; null: valid until removed. */
  readonly until: string | null;
}

/** `token` is reserved for the default token, which has its own file; after a rotation the old one keeps that name here for a while. */
export const TOKEN_NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const LINE = /^(\S+) sha256:([0-9a-f]{64})(?: until (\S+))?$/;

/** @throws Error naming the invalid line, without its content */
function parseTokenList(text: string): readonly NamedToken[] {
  return text
    .split('\n')
    .map((line, index) => [line.trim(), index + 1] as const)
    .filter(([line]) => line !== '' && !line.startsWith('#'))
    .map(([line, number]) => {
      const [, name = '', sha256 = '', until] = LINE.exec(line) ?? [];
      if (!TOKEN_NAME.test(name) || (until !== undefined && Number.isNaN(Date.parse(until)))) {
        throw new Error(`line ${number} of the token list is not "<name> sha256:<64 hexadecimal digits>", optionally followed by " until <time>"`);
      }
      return { name, sha256, until: until ?? null };
    });
}

/** A missing file is an empty list. @throws Error naming the invalid line */
export function readTokenList(file: string): readonly NamedToken[] {
  try {
    return parseTokenList(readFileSync(file, 'utf8'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

export function tokenListText(tokens: readonly NamedToken[]): string {
  return tokens.map(({ name, sha256, until }) => `${name} sha256:${sha256}${until === null ? '' : ` until ${until}`}\n`).join('');
}

export function isValidAt({ until }: NamedToken, now: Date): boolean {
  return until === null || now.getTime() < Date.parse(until);
}
