import { readFile } from 'node:fs/promises';
import { errnoOf } from '../../lib/process/system-error.js';
import { isPublicKey, publicKeyFingerprint } from '../../lib/ssh/host-key.js';

/** The whole authorized_keys line of each permitted key, by fingerprint. */
export type PermittedKeys = ReadonlyMap<string, string>;

/** Lines without an Ed25519 key permit nobody. */
export function permittedKeys(authorizedKeys: string): PermittedKeys {
  const keys = new Map<string, string>();
  for (const line of authorizedKeys.split('\n')) {
    const [key] = /ssh-ed25519 [A-Za-z0-9+/=]+/.exec(line.startsWith('#') ? '' : line) ?? [];
    // sshd uses the first of two lines with the same key.
    if (key === undefined || !isPublicKey(key) || keys.has(publicKeyFingerprint(key))) continue;
    keys.set(publicKeyFingerprint(key), line);
  }
  return keys;
}

/** Without a file nobody is permitted, as with sshd. */
export async function readPermittedKeys(file: string): Promise<PermittedKeys> {
  try {
    return permittedKeys(await readFile(file, 'utf8'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return new Map();
    throw error;
  }
}

/** Whether a key's permissions are unchanged. */
export function standsAsBefore(fingerprint: string, before: PermittedKeys, now: PermittedKeys): boolean {
  const line = now.get(fingerprint);
  return line !== undefined && line === before.get(fingerprint);
}
