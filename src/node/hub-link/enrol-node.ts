import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { NodePairingAnswer, type NodePairingRequest } from '../../contract/pairing.js';
import { InvalidMessageError, parseMessage } from '../../contract/parse-message.js';
import type { Plain } from '../../contract/words.js';
import { makeDataDirectory, readOrMakeToken, writeWhole } from '../../lib/config/kept-files.js';
import { ProgramLock } from '../../lib/process/program-lock.js';
import { callThroughSsh, type RawAnswer, SshCallError } from './call-through-ssh.js';
import { ensureKeyPair, publicKeyFingerprint } from '../../lib/ssh/host-key.js';
import { type PairingCode, pairingPrivateKeyText, pairingProof } from '../../tunnel/interface/pairing-code.js';
import { knownHostsText, parseTunnelSettings, TUNNEL_FILES, tunnelSettingsText } from '../../tunnel/interface/tunnel-settings.js';

/** Where a node keeps its identity; all paths are absolute. */
export interface NodePlace {
  readonly dataDirectory: string;
  readonly tunnelDirectory: string;
  readonly tokenFile: string;
}

/** Member names as printed by `--json`. */
export interface EnrolledNode {
  readonly node_id: string;
  readonly name: string;
  readonly public_key_fingerprint: string;
  readonly tunnel_directory: string;
}

/** The machine could not be enrolled. The message gives the reason and the remedy, and never contains the code. */
export class EnrolmentError extends Error {
  override readonly name = 'EnrolmentError';
}

/**
 * Pairs this machine with the hub of the code. The key and token are created first, in a separate directory, and kept there until the hub has answered: the
 * same code may be retried after a crash or a lost answer, and an earlier enrolment stays intact until the new one is complete.
 * @throws EnrolmentError; AlreadyRunningError while a node runs on that data; the signal's reason
 */
export async function enrolNode(
  code: PairingCode,
  place: NodePlace,
  machine: { readonly hostname: string; readonly version: string },
  options: { readonly again: boolean; readonly localHost: string },
  signal: AbortSignal,
): Promise<EnrolledNode> {
  makeDataDirectory(place.dataDirectory);
  const lock = await ProgramLock.acquire(place.dataDirectory, 'node');
  try {
    const enrolledAs = enrolledNodeId(place);
    if (enrolledAs !== null && !options.again) {
      throw new EnrolmentError(`this machine is already enrolled, as node ${enrolledAs}; use --again to replace its key and token`);
    }
    const made = await makeKeys(place, code.nodeId);
    const answer = await pair(code, made, machine, signal);
    const { name, public_key_fingerprint, reverse_port, nbd_port_first, nbd_port_count } = answer;
    if (public_key_fingerprint !== publicKeyFingerprint(made.publicKey)) throw new EnrolmentError("the hub registered a different key than this machine's");
    const settings = parseTunnelSettings(
      JSON.stringify({
        hub_host: code.host,
        hub_port: code.tunnelPort,
        user: code.user,
        node_id: code.nodeId,
        reverse_port,
        nbd_port_first,
        nbd_port_count,
        hub_api_port: code.apiPort,
        local_host: options.localHost,
      }),
    );
    putInPlace(place, made, code, tunnelSettingsText(settings));
    return { node_id: code.nodeId, name, public_key_fingerprint, tunnel_directory: place.tunnelDirectory };
  } finally {
    lock.release();
  }
}

interface MadeKeys {
  readonly folder: string;
  readonly publicKey: string;
  readonly token: string;
}

async function makeKeys(place: NodePlace, nodeId: string): Promise<MadeKeys> {
  mkdirSync(place.tunnelDirectory, { recursive: true, mode: 0o700 });
  const folder = join(place.tunnelDirectory, `pairing-${nodeId}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const publicKey = await ensureKeyPair(join(folder, TUNNEL_FILES.privateKey));
  return { folder, publicKey, token: readOrMakeToken(join(folder, 'node.token')) };
}

async function pair(
  code: PairingCode,
  made: MadeKeys,
  machine: { readonly hostname: string; readonly version: string },
  signal: AbortSignal,
): Promise<Plain<NodePairingAnswer>> {
  const body: Plain<NodePairingRequest> = { node_id: code.nodeId, proof: pairingProof(code.secret), public_key: made.publicKey, token: made.token, ...machine };
  const target = {
    host: code.host,
    tunnelPort: code.tunnelPort,
    user: code.user,
    hostKey: code.hostKey,
    key: { text: pairingPrivateKeyText(code.secret) },
    apiPort: code.apiPort,
  };
  const call = { method: 'POST', path: '/api/v1/nodes/pair', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) } as const;
  const answer = await callThroughSsh(target, call, signal).catch((error: unknown) => {
    if (!(error instanceof SshCallError)) throw error;
    const hint = error.code === 'key_refused' ? 'the pairing code was used, has expired, or its node was removed; create a new one' : error.message;
    throw new EnrolmentError(hint);
  });
  const parsed = jsonOf(answer);
  if (answer.status !== 200) throw new EnrolmentError(`the hub refused: ${detailOf(parsed) ?? `it answered ${answer.status}`}`);
  try {
    return parseMessage(NodePairingAnswer, parsed);
  } catch (error) {
    throw error instanceof InvalidMessageError ? new EnrolmentError(`the hub's answer is invalid: ${error.message}`) : error;
  }
}

/** Writes the tunnel's settings last: until they exist, the machine is not enrolled. Each file is replaced whole. */
function putInPlace({ dataDirectory, tunnelDirectory, tokenFile }: NodePlace, made: MadeKeys, code: PairingCode, settings: string): void {
  rmSync(join(tunnelDirectory, TUNNEL_FILES.settings), { force: true });
  writeWhole(join(dataDirectory, 'node.id'), `${code.nodeId}\n`);
  writeWhole(tokenFile, `${made.token}\n`);
  // Leftovers of earlier rotations belong to another enrolment.
  for (const left of [`${tokenFile}.next`, `${tokenFile}.previous`, join(tunnelDirectory, 'rotation')]) rmSync(left, { force: true });
  for (const name of [TUNNEL_FILES.privateKey, TUNNEL_FILES.publicKey]) {
    rmSync(join(tunnelDirectory, `${name}.next`), { force: true });
    renameSync(join(made.folder, name), join(tunnelDirectory, name));
  }
  chmodSync(join(tunnelDirectory, TUNNEL_FILES.privateKey), 0o600);
  writeWhole(join(tunnelDirectory, TUNNEL_FILES.knownHosts), knownHostsText(code.hostKey));
  writeWhole(join(tunnelDirectory, TUNNEL_FILES.settings), settings);
  rmSync(made.folder, { recursive: true, force: true });
}

function enrolledNodeId({ tunnelDirectory }: NodePlace): string | null {
  const file = join(tunnelDirectory, TUNNEL_FILES.settings);
  return existsSync(file) ? parseTunnelSettings(readFileSync(file, 'utf8')).node_id : null;
}

function jsonOf(answer: RawAnswer): unknown {
  try {
    return JSON.parse(answer.body.toString('utf8'));
  } catch {
    throw new EnrolmentError(`the server at the hub's API address does not answer in JSON (status ${answer.status})`);
  }
}

function detailOf(problem: unknown): string | null {
  return typeof problem === 'object' && problem !== null && 'detail' in problem && typeof problem.detail === 'string' ? problem.detail : null;
}
