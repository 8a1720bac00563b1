import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../../lib/process/system-error.js';
import { AUTHORIZED_KEYS_FILE } from '../../../tunnel/interface/tunnel-server-files.js';

/** The hub's directory of this file is for the account of the tunnel server too, which may be another one in the same group. */
const DIRECTORY_MODE = 0o750;
/** Public keys are no secret. */
const FILE_MODE = 0o644;

/** A port that no tunnel can take: sshd wants at least one port that may be listened on, and an account without privileges cannot listen there. */
const PORT_FOR_NOBODY = 1;

export interface NodeKeyLine {
  /** `ssh-ed25519 <base64>` */
  readonly publicKey: string;
  readonly nodeId: string;
  /** Ports on the hub's loopback that the node may connect to: the NBD pool and the hub's API. */
  readonly openPorts: readonly number[];
  /** The one port on the hub's loopback that leads back to the node. */
  readonly reversePort: number;
}

export interface PairingKeyLine {
  readonly publicKey: string;
  readonly nodeId: string;
  readonly apiPort: number;
  readonly expiresAt: Date;
}

/** What a node's key may do: forward these ports, and nothing else (`restrict` takes away terminal, agent, X11, commands of ~/.ssh/rc, and whatever sshd learns to do later). */
export function authorizedKeysLine({ publicKey, nodeId, openPorts, reversePort }: NodeKeyLine): string {
  const opens = openPorts.map((port) => `permitopen="127.0.0.1:${port}"`);
  return `restrict,port-forwarding,${opens.join(',')},permitlisten="127.0.0.1:${reversePort}" ${publicKey} node:${nodeId}`;
}

/** What the key of a pairing code may do until it expires: reach the hub's API, which then wants the code's secret. */
export function pairingKeyLine({ publicKey, nodeId, apiPort, expiresAt }: PairingKeyLine): string {
  const until = `expiry-time="${sshTime(expiresAt)}"`;
  return `restrict,port-forwarding,${until},permitopen="127.0.0.1:${apiPort}",permitlisten="127.0.0.1:${PORT_FOR_NOBODY}" ${publicKey} pairing:${nodeId}`;
}

/**
 * Replaces the file as a whole, durably; who reads it has the old or the new one. Writes nothing when it is so already.
 * @returns whether it was changed
 */
export async function writeAuthorizedKeys(tunnelDirectory: string, lines: readonly string[]): Promise<boolean> {
  const file = join(tunnelDirectory, AUTHORIZED_KEYS_FILE);
  const text = lines.map((line) => `${line}\n`).join('');
  if (((await readIfThere(file)) ?? '') === text) return false;
  await mkdir(tunnelDirectory, { recursive: true, mode: DIRECTORY_MODE });
  const fresh = `${file}.${process.pid}.new`;
  const handle = await open(fresh, 'w', FILE_MODE);
  try {
    // Whatever umask the program has: the account of the tunnel server has to read it.
    await handle.chmod(FILE_MODE);
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(fresh, file);
  return true;
}

/** `YYYYMMDDHHMMSSZ`, UTC (sshd(8), expiry-time). */
function sshTime(time: Date): string {
  return `${time.toISOString().replaceAll(/[-:T]/g, '').slice(0, 14)}Z`;
}

async function readIfThere(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}
