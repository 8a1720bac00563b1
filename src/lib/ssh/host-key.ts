import { createHash, randomUUID } from 'node:crypto';
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ifThere } from '../files/if-there.js';
import { runTool } from '../process/run-tool.js';
import { errnoOf } from '../process/system-error.js';

/** Names of the host key's files in the hub's tunnel directory; the second is world-readable. */
export const HOST_KEY_FILE = 'host_ed25519';
export const HOST_PUBLIC_KEY_FILE = `${HOST_KEY_FILE}.pub`;

const PUBLIC_KEY = /^ssh-ed25519 ([A-Za-z0-9+/]{68})(?: .*)?$/;

/**
 * The tunnel server's public key, created together with the private one when there is none. Only the account that runs the tunnel server calls this, because
 * the creator owns the private key (0600); everything else only reads.
 * @returns `ssh-ed25519 <base64>`, without a comment
 * @throws ToolError when ssh-keygen is missing or fails; Error when the file does not hold an Ed25519 key
 */
export async function ensureHostKey(tunnelDirectory: string): Promise<string> {
  return ensureKeyPair(join(tunnelDirectory, HOST_KEY_FILE));
}

/** The tunnel server's public key, `ssh-ed25519 <base64>`; null until the tunnel server has created it. @throws Error when the file does not hold such a key */
export async function readHostKey(tunnelDirectory: string): Promise<string | null> {
  return readPublicKey(join(tunnelDirectory, HOST_PUBLIC_KEY_FILE));
}

/**
 * An Ed25519 key pair for OpenSSH: the private key in `file` (0600), the public one next to it in `<file>.pub` (0644). An existing pair is kept; of two
 * concurrent creators one wins, and a creator killed halfway leaves nothing that disturbs the next one.
 * @returns the public key, `ssh-ed25519 <base64>`
 * @throws ToolError when ssh-keygen is missing or fails
 */
export async function ensureKeyPair(file: string): Promise<string> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const fresh = `${file}.${randomUUID()}.new`;
  try {
    if (!(await exists(file))) {
      await runTool(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', fresh]);
      await linkUnlessThere(fresh, file);
    }
    // From the private key that won, not the one just created.
    const publicKey = bare((await runTool(['ssh-keygen', '-y', '-f', file])).stdout, file);
    if ((await readPublicKey(`${file}.pub`).catch(() => null)) !== publicKey) {
      await writeFile(`${fresh}.pub`, `${publicKey}\n`, { mode: 0o644, flush: true });
      await rename(`${fresh}.pub`, `${file}.pub`);
    }
    return publicKey;
  } finally {
    await rm(fresh, { force: true });
    await rm(`${fresh}.pub`, { force: true });
  }
}

/** The public key in a file, `ssh-ed25519 <base64>` without its comment; null when there is no such file. @throws Error when it does not hold such a key */
export async function readPublicKey(file: string): Promise<string | null> {
  const text = await ifThere(readFile(file, 'utf8'));
  return text === null ? null : bare(text, file);
}

/** True for one line `ssh-ed25519 <base64>` with valid content; a comment may follow. */
export function isPublicKey(line: string): boolean {
  const [, base64] = PUBLIC_KEY.exec(line) ?? [];
  // The content repeats the key type: 4 bytes of length, then `ssh-ed25519`.
  return base64 !== undefined && Buffer.from(base64, 'base64').subarray(4, 15).toString('latin1') === 'ssh-ed25519';
}

/** `SHA256:<base64 without padding>`, as ssh-keygen -l prints it. @param publicKey `ssh-ed25519 <base64>` @throws Error when it is not such a key */
export function publicKeyFingerprint(publicKey: string): string {
  const [, base64] = PUBLIC_KEY.exec(publicKey.trim()) ?? [];
  if (base64 === undefined || !isPublicKey(publicKey.trim())) throw new Error('this is not an Ed25519 public key');
  return `SHA256:${createHash('sha256').update(Buffer.from(base64, 'base64')).digest('base64').replace(/=+$/, '')}`;
}

function bare(text: string, file: string): string {
  const line = text.trim();
  if (!isPublicKey(line)) throw new Error(`${file} does not hold an Ed25519 key`);
  return line.split(' ', 2).join(' ');
}

async function linkUnlessThere(fresh: string, file: string): Promise<void> {
  try {
    await link(fresh, file);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
}

async function exists(file: string): Promise<boolean> {
  try {
    await readFile(file);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}
