import { createPrivateKey, createPublicKey, hkdfSync, type KeyObject, randomBytes } from 'node:crypto';
import { isPublicKey } from '../../lib/ssh/host-key.js';

/**
 * A pairing code: everything that a node needs to find and authenticate its hub, and a secret from which two things are derived: a key pair that may reach the
 * hub's API through the tunnel server until the code is used or expires, and the proof that the API requires. The hub stores neither the secret nor the proof.
 * Text: `<user>@<host>:<tunnel port>/<host key>/<API port>/<node id>/<secret>`; keys and secrets are base64url of their bytes.
 */
export interface PairingCode {
  readonly user: string;
  readonly host: string;
  readonly tunnelPort: number;
  /** The tunnel server's host key, `ssh-ed25519 <base64>`: pinned before the first connection. */
  readonly hostKey: string;
  readonly apiPort: number;
  readonly nodeId: string;
  readonly secret: string;
}

const SECRET_BYTES = 24;
const CODE =
  /^([a-z_][a-z0-9_-]{0,31})@(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]{1,253}):(\d{1,5})\/([A-Za-z0-9_-]{43})\/(\d{1,5})\/([A-Za-z0-9][A-Za-z0-9._-]{0,63})\/([A-Za-z0-9_-]{32})$/;
/** Start of an Ed25519 public key in SSH encoding: length and name of the key type, length of the key. */
const SSH_KEY_HEAD = Buffer.concat([lengthOf(11), Buffer.from('ssh-ed25519'), lengthOf(32)]);
/** Start of an Ed25519 private key in PKCS #8 (RFC 8410): everything except the seed is constant. */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex');
/** Length of the start of an Ed25519 public key in SubjectPublicKeyInfo (RFC 8410). */
const SPKI_HEAD_BYTES = 12;

export function newPairingSecret(): string {
  return randomBytes(SECRET_BYTES).toString('base64url');
}

export function pairingCodeText(code: PairingCode): string {
  const host = code.host.includes(':') ? `[${code.host}]` : code.host;
  return `${code.user}@${host}:${code.tunnelPort}/${rawKey(code.hostKey).toString('base64url')}/${code.apiPort}/${code.nodeId}/${code.secret}`;
}

/** null: not a pairing code. */
export function parsePairingCode(text: string): PairingCode | null {
  const [, user = '', host = '', tunnelPort = '', hostKey = '', apiPort = '', nodeId = '', secret = ''] = CODE.exec(text.trim()) ?? [];
  if (secret === '' || !isPort(Number(tunnelPort)) || !isPort(Number(apiPort))) return null;
  return {
    user,
    host: host.replace(/^\[|\]$/g, ''),
    tunnelPort: Number(tunnelPort),
    hostKey: sshPublicKey(Buffer.from(hostKey, 'base64url')),
    apiPort: Number(apiPort),
    nodeId,
    secret,
  };
}

/** Sent by the node to the hub's API instead of the secret. */
export function pairingProof(secret: string): string {
  return derived(secret, 'sendense pairing proof').toString('base64url');
}

/** `ssh-ed25519 <base64>` */
export function pairingPublicKey(secret: string): string {
  return sshPublicKey(rawPublicKey(privateKeyOf(secret)));
}

/** The text of a key file for ssh (OpenSSH's own format, without a passphrase). */
export function pairingPrivateKeyText(secret: string): string {
  const publicKey = rawPublicKey(privateKeyOf(secret));
  const blob = Buffer.concat([SSH_KEY_HEAD, publicKey]);
  // PROTOCOL.key of OpenSSH: two equal check numbers, the key, an empty comment, padded with 1, 2, 3 ... to the cipher's block of 8.
  const check = derived(secret, 'sendense pairing key file').subarray(0, 4);
  const seedAndKey = Buffer.concat([derived(secret, 'sendense pairing key'), publicKey]);
  const bare = Buffer.concat([check, check, blob, withLength(seedAndKey), withLength(Buffer.alloc(0))]);
  const padding = Buffer.from(Array.from({ length: (8 - (bare.length % 8)) % 8 }, (_, index) => index + 1));
  const none = withLength(Buffer.from('none'));
  const file = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    none,
    none,
    withLength(Buffer.alloc(0)),
    lengthOf(1),
    withLength(blob),
    withLength(Buffer.concat([bare, padding])),
  ]);
  const lines = file.toString('base64').match(/.{1,70}/g) ?? [];
  return ['-----BEGIN OPENSSH PRIVATE KEY-----', ...lines, '-----END OPENSSH PRIVATE KEY-----', ''].join('\n');
}

function privateKeyOf(secret: string): KeyObject {
  return createPrivateKey({ key: Buffer.concat([PKCS8_HEAD, derived(secret, 'sendense pairing key')]), format: 'der', type: 'pkcs8' });
}

function rawPublicKey(privateKey: KeyObject): Buffer {
  return createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(SPKI_HEAD_BYTES);
}

/** HKDF (RFC 5869) with SHA-256, 32 bytes. */
function derived(secret: string, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', purpose, 32));
}

function sshPublicKey(raw: Buffer): string {
  return `ssh-ed25519 ${Buffer.concat([SSH_KEY_HEAD, raw]).toString('base64')}`;
}

function rawKey(publicKey: string): Buffer {
  if (!isPublicKey(publicKey)) throw new Error('this is not an Ed25519 public key');
  return Buffer.from(publicKey.split(' ')[1] ?? '', 'base64').subarray(SSH_KEY_HEAD.length);
}

function withLength(bytes: Buffer): Buffer {
  return Buffer.concat([lengthOf(bytes.length), bytes]);
}

function lengthOf(count: number): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(count);
  return length;
}

function isPort(port: number): boolean {
  return port >= 1 && port <= 65_535;
}
