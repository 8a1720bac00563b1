import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { readToken } from '../../../lib/config/kept-files.js';
import { loggerFor } from '../../../lib/logging/logger.js';
import { errnoOf } from '../../../lib/process/system-error.js';
import { type AccessTokens, sameToken } from '../../../lib/http/access-tokens.js';
import { isValidAt, type NamedToken, readTokenList } from '../../../lib/http/token-list.js';

/** How long to trust the last check of the files before checking them again. */
const LOOK_MS = 1_000;

export interface ApiTokenSources {
  /** A configured token, which no file replaces; null: use the one in `apiTokenFile`. */
  readonly configured: string | null;
  readonly apiTokenFile: string;
  /** Digests of further tokens with their names; the file is optional. */
  readonly tokenListFile: string;
  readonly nodeToken: string;
}

/**
 * The API's tokens. Their files are read again when they change, so tokens can be added, replaced or withdrawn without a restart. An unreadable file
 * leaves the tokens unchanged.
 */
export class ApiTokens implements AccessTokens {
  private readonly log = loggerFor('ApiTokens');
  private current: string;
  private named: readonly NamedToken[] = [];
  private lookedMs = Number.NEGATIVE_INFINITY;
  private readonly seen = new Map<string, string>();

  /** @throws Error when a file has invalid content */
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

  /** Returns `api:token` or `api:<name>`; null: not a token of the API. */
  actorOf(presented: string): string | null {
    if (sameToken(presented, this.apiToken)) return 'api:token';
    const digest = createHash('sha256').update(presented).digest('hex');
    // These are digests of random tokens, so the duration of the comparison reveals nothing about them.
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
      this.log.error('could not read a token file; the tokens stay unchanged', { file, error });
    }
  }
}

/** Changes whenever the file is replaced. */
function stampOf(file: string): string {
  try {
    const { ino, mtimeNs, size } = statSync(file, { bigint: true });
    return `${ino} ${mtimeNs} ${size}`;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 'absent';
    throw error;
  }
}
