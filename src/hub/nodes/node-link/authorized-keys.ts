import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { ifThere } from '../../../lib/files/if-there.js';
import { AUTHORIZED_KEYS_FILE } from '../../../tunnel/interface/tunnel-server-files.js';

/** The tunnel server may run under another account of the same group, and that account must be able to read this directory. */
const DIRECTORY_MODE = 0o750;
/** Public keys are not secret. */
const FILE_MODE = 0o644;

/** A port that no tunnel can listen on: sshd requires at least one permitted port, and an unprivileged account cannot bind this one. */
const PORT_FOR_NOBODY = 1;

export interface NodeKeyLine {
  /** `ssh-ed25519 <base64>` */
  readonly publicKey: string;
  readonly nodeId: string;
  /** Ports on the hub's loopback address that the node may connect to: the NBD pool and the hub's API. */
  readonly openPorts: readonly number[];
  /** The only port on the hub's loopback address that forwards back to the node. */
  readonly reversePort: number;
}

export interface PairingKeyLine {
  readonly publicKey: string;
  readonly nodeId: string;
  readonly apiPort: number;
  readonly expiresAt: Date;
}

/**
 * Allows a node's key to forward these ports and nothing else. `restrict` removes terminal, agent, X11, commands in ~/.ssh/rc, and any feature that
 * sshd adds later.
 */
export function authorizedKeysLine({ publicKey, nodeId, openPorts, reversePort }: NodeKeyLine): string {
  const opens = openPorts.map((port) => `permitopen="127.0.0.1:${port}"`);
  return `restrict,port-forwarding,${opens.join(',')},permitlisten="127.0.0.1:${reversePort}" ${publicKey} node:${nodeId}`;
}

/** Allows the key of a pairing code to reach the hub's API until the code expires. The API then asks for the code's secret. */
export function pairingKeyLine({ publicKey, nodeId, apiPort, expiresAt }: PairingKeyLine): string {
  const until = `expiry-time="${sshTime(expiresAt)}"`;
  return `restrict,port-forwarding,${until},permitopen="127.0.0.1:${apiPort}",permitlisten="127.0.0.1:${PORT_FOR_NOBODY}" ${publicKey} pairing:${nodeId}`;
}

/**
 * Replaces the whole file atomically and durably; readers see the old or the new content. Writes nothing if the content is unchanged.
 * @returns whether the file changed
 */
export async function writeAuthorizedKeys(tunnelDirectory: string, lines: readonly string[]): Promise<boolean> {
  const file = join(tunnelDirectory, AUTHORIZED_KEYS_FILE);
  const text = lines.map((line) => `${line}\n`).join('');
  if (((await ifThere(readFile(file, 'utf8'))) ?? '') === text) return false;
  await mkdir(tunnelDirectory, { recursive: true, mode: DIRECTORY_MODE });
  const fresh = `${file}.${process.pid}.new`;
  const handle = await open(fresh, 'w', FILE_MODE);
  try {
    // Set the mode explicitly, regardless of the umask: the tunnel server's account must be able to read the file.
    await handle.chmod(FILE_MODE);
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(fresh, file);
  return true;
}

/** Format: `YYYYMMDDHHMMSSZ`, UTC (sshd(8), expiry-time). */
function sshTime(time: Date): string {
  return `${time.toISOString().replaceAll(/[-:T]/g, '').slice(0, 14)}Z`;
}
