import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { HubConfig } from '../../hub.config.js';
import { readToken, writeWhole } from '../../../lib/config/kept-files.js';
import { namesIn } from '../../../lib/files/if-there.js';

/** Must be held while a token and the event that makes it valid are added, and while tokens that no event names are removed. */
export function nodeTokenLock(nodeId: string): string {
  return `node-tokens/${nodeId}`;
}

const DIGEST_IN_NAME = 16;

/**
 * The tokens of enrolled nodes: one file of mode 0600 per token in `<shared_directory>/node-tokens`, named `<node id>.<beginning of the token's SHA-256>`. During a
 * key rotation a node has two tokens in two files; a file never replaces another. Events hold the tokens' digests and decide which tokens are valid.
 */
@Injectable()
export class NodeTokenFiles {
  constructor(private readonly config: HubConfig) {}

  async keep(nodeId: string, token: string): Promise<void> {
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    writeWhole(join(this.directory, fileName(nodeId, createHash('sha256').update(token).digest('hex'))), `${token}\n`);
    return Promise.resolve();
  }

  /** Returns null if there is no such file or it holds another token. */
  read(nodeId: string, sha256: string): string | null {
    const token = readToken(join(this.directory, fileName(nodeId, sha256)));
    return token !== null && createHash('sha256').update(token).digest('hex') === sha256 ? token : null;
  }

  /** Removes all other tokens of the node. @param sha256 digests of the tokens to keep */
  async keepOnly(nodeId: string, sha256: readonly string[]): Promise<void> {
    const wanted = new Set(sha256.map((digest) => fileName(nodeId, digest)));
    for (const name of await namesIn(this.directory)) {
      if (name.startsWith(`${nodeId}.`) && !wanted.has(name)) await rm(join(this.directory, name), { force: true });
    }
  }

  private get directory(): string {
    return join(this.config.sharedDirectory, 'node-tokens');
  }
}

function fileName(nodeId: string, sha256: string): string {
  return `${nodeId}.${sha256.slice(0, DIGEST_IN_NAME)}`;
}
