import { createHmac } from 'node:crypto';

/** One known_hosts line with a key of the requested host. */
export interface KnownHostKey {
  /** `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa`, ... */
  readonly type: string;
  /** The key in its wire encoding. */
  readonly blob: Buffer;
  /** Marked `@revoked`: a host that presents it must not be trusted. */
  readonly revoked: boolean;
}

/**
 * The keys of a host in known_hosts files (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT): plain and hashed names, patterns, and `[host]:port` for ports other than 22.
 * Certificate authority lines are skipped: host certificates are not checked here.
 */
export function knownHostKeys(text: string, host: string, port: number): readonly KnownHostKey[] {
  const name = (port === 22 ? host : `[${host}]:${port}`).toLowerCase();
  const keys: KnownHostKey[] = [];
  for (const line of text.split('\n')) {
    const fields = line.trim().split(/\s+/);
    const marker = fields[0]?.startsWith('@') === true ? fields.shift() : undefined;
    const [names, type, base64] = fields;
    if (names === undefined || type === undefined || base64 === undefined || names.startsWith('#')) continue;
    if (marker !== undefined && marker !== '@revoked') continue;
    if (matches(names, name)) keys.push({ type, blob: Buffer.from(base64, 'base64'), revoked: marker === '@revoked' });
  }
  return keys;
}

function matches(names: string, name: string): boolean {
  if (names.startsWith('|1|')) {
    const [, , salt, digest] = names.split('|');
    if (salt === undefined || digest === undefined) return false;
    return createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest('base64') === digest;
  }
  let found = false;
  for (const entry of names.split(',')) {
    const refuses = entry.startsWith('!');
    if (!pattern(refuses ? entry.slice(1) : entry).test(name)) continue;
    if (refuses) return false;
    found = true;
  }
  return found;
}

/** `*` and `?` are wildcards; all other characters, brackets included, are literal. */
function pattern(glob: string): RegExp {
  const source = glob
    .toLowerCase()
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`);
}
