import { DomainError } from '../../kernel/domain-error.js';

/**
 * `<disk_key>:<URI>,...` with percent-encoded disk keys -> disk key to NBD URI; see NodeStartBackup.
 * @throws DomainError nbd_targets_malformed, nbd_targets_mismatch (not exactly one target for each of the disk keys)
 */
export function parseNbdTargets(text: string, diskKeys: readonly string[]): ReadonlyMap<string, string> {
  const targets = new Map<string, string>();
  for (const part of text.split(',')) {
    const match = /^([^:,\s]+):(nbd[^\s,]+)$/.exec(part);
    const key = match?.[1] === undefined ? null : decodedKey(match[1]);
    const uri = match?.[2];
    if (key === null || uri === undefined || !isTarget(uri)) {
      throw new DomainError(
        'invalid',
        'nbd_targets_malformed',
        `"${part}" is not <disk key>:nbds://<host>:<port>/<export name> or <disk key>:nbd+unix:///<export name>?socket=<path>. Percent-encode the disk key.`,
        {
          part,
        },
      );
    }
    if (targets.has(key)) {
      throw new DomainError('invalid', 'nbd_targets_mismatch', `The disk "${key}" has two NBD targets; give exactly one per disk.`, { disk_key: key });
    }
    targets.set(key, uri);
  }
  const unknown = [...targets.keys()].find((key) => !diskKeys.includes(key));
  const missing = diskKeys.find((key) => !targets.has(key));
  const wrong = missing ?? unknown;
  if (wrong !== undefined || targets.size !== diskKeys.length) {
    throw new DomainError(
      'invalid',
      'nbd_targets_mismatch',
      `The NBD targets do not match the disks: "${wrong ?? ''}" must occur exactly once in the disks and once in the targets.`,
      {
        disk_key: wrong ?? null,
      },
    );
  }
  return targets;
}

function decodedKey(encoded: string): string | null {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return null;
  }
}

function isTarget(uri: string): boolean {
  if (!URL.canParse(uri)) return false;
  const url = new URL(uri);
  if (url.pathname.length <= 1 || url.username !== '' || url.hash !== '') return false;
  if (url.protocol === 'nbd+unix:') return url.host === '' && /^\?socket=%2F[^&]+$/.test(url.search);
  return (url.protocol === 'nbd:' || url.protocol === 'nbds:') && url.hostname !== '' && url.port !== '' && url.search === '';
}
