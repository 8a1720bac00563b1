import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { hasTool } from '../support/require-tools.js';

const GOPATH = '/usr/share/gocode';

/** Why Go cannot check the ledger here; null: it can. */
export function goMissing(): string | null {
  if (!hasTool('go')) return 'not on PATH: go (Debian: golang-go)';
  return existsSync(join(GOPATH, 'src/golang.org/x/mod/sumdb/tlog')) ? null : 'golang.org/x/mod is missing (Debian: golang-golang-x-mod-dev)';
}

export interface GoQuestion {
  readonly key: string;
  readonly checkpoint: string;
  readonly old_checkpoint: string;
  readonly leaf: string;
  readonly index: number;
  readonly inclusion: readonly string[];
  readonly consistency: readonly string[];
}

/** Verifies checkpoints and proofs with Go's own libraries. @returns what it printed @throws with its message if it refuses them */
export async function verifyWithGo(question: GoQuestion): Promise<string> {
  const { stdout } = await execa('go', ['run', join(import.meta.dirname, 'check.go')], {
    input: JSON.stringify(question),
    env: { GOPATH, GO111MODULE: 'off' },
  });
  return stdout;
}
