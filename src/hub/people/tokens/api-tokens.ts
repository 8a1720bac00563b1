import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { readToken } from '../../../lib/config/kept-files.js';
import { loggerFor } from '../../../lib/logging/logger.js';
import { errnoOf } from '../../../lib/process/system-error.js';
import { type AccessTokens, sameToken } from '../../../lib/http/access-tokens.js';
import { isValidAt, type NamedToken, readTokenList } from '../../../lib/http/token-list.js';

/** How long a look at the files is good. */
const LOOK_MS = 1_000;

export interface ApiTokenSources {
  /** A configured token, which no file replaces; null: the one in `apiTokenFile`. */
  readonly configured: string | null;
  readonly apiTokenFile: string;
  /** Digests of further tokens with their names; need not be there. */
  readonly tokenListFile: string;
  readonly nodeToken: string;
}

/** The tokens of the API, read again when their files change: a token is added, replaced or withdrawn without a restart. What cannot be read leaves the tokens as they were. */
export class ApiTokens implements AccessTokens {
  private readonly log = loggerFor('ApiTokens');
  private current: string;
  private named: readonly NamedToken[] = [];
  private lookedMs = Number.NEGATIVE_INFINITY;
  private readonly seen = new Map<string, string>();

  /** @throws Error when a file does not hold what it should */
  constructor(private readonly sources: ApiTokenSources) {
    this.current = sources.configured ?? readToken(sources.apiTokenFile) ?? '';
    this.named = readTokenList(sources.tokenListFile);
  }

  get nodeToken(): string {
    return this.sources.nodeToken;
  }

  get apiToken(): string {
    this.look();
    return this.current;
  }

  /** `api:token`, or `api:<name>`; null: no token of the API. */
  actorOf(presented: string): string | null {
    if (sameToken(presented, this.apiToken)) return 'api:token';
    const digest = createHash('sha256').update(presented).digest('hex');
    // Digests of random tokens tell nothing about them, so how long their comparison takes does not either.
    const found = this.named.find((one) => one.sha256 === digest && isValidAt(one, new Date()));
    return found === undefined ? null : `api:${found.name}`;
  }

  private look(): void {
    const now = performance.now();
    if (now - this.lookedMs < LOOK_MS) return;
    this.lookedMs = now;
    if (this.sources.configured === null) this.reread(this.sources.apiTokenFile, () => (this.current = readToken(this.sources.apiTokenFile) ?? this.current));
    this.reread(this.sources.tokenListFile, () => (this.named = readTokenList(this.sources.tokenListFile)));
  }

  private reread(file: string, read: () => void): void {
    try {
      const stamp = stampOf(file);
      if (this.seen.get(file) === stamp) return;
      read();
      this.seen.set(file, stamp);
    } catch (error) {
      this.log.error('a file of tokens cannot be read; the tokens stay as they were', { file, error });
    }
  }
}

/** Changes with every replacement of the file. */
function stampOf(file: string): string {
  try {
    const { ino, mtimeNs, size } = statSync(file, { bigint: true });
    return `${ino} ${mtimeNs} ${size}`;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 'absent';
    throw error;
  }
}
