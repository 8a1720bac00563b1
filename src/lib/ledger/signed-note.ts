import { createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto';

/** The Ed25519 signature type of a note (C2SP signed-note). */
const ED25519 = 0x01;
const KEY_ID_BYTES = 4;
const MAX_SIGNATURES = 64;
const SIGNATURE_LINE = /^— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/u;

/** A text that is not a note, a checkpoint or a verifier key, or whose signature is wrong. */
export class NoteError extends Error {
  override readonly name = 'NoteError';
}

export interface NoteVerifier {
  readonly name: string;
  /** Four bytes. */
  readonly keyId: Buffer;
  readonly publicKey: KeyObject;
}

export function verifierOf(name: string, key: KeyObject): NoteVerifier {
  if (!/^[^\s+]+$/u.test(name)) throw new NoteError(`${JSON.stringify(name)} cannot name a key: it has spaces or a plus, or is empty`);
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return { name, keyId: keyIdOf(name, rawKey(publicKey)), publicKey };
}

/** The verifier key as one line of text: `<name>+<key id>+<key>`. */
export function verifierText({ name, keyId, publicKey }: NoteVerifier): string {
  return `${name}+${keyId.toString('hex')}+${Buffer.concat([Buffer.from([ED25519]), rawKey(publicKey)]).toString('base64')}`;
}

/** @throws NoteError */
export function parseVerifier(text: string): NoteVerifier {
  const [, name = '', keyId = '', encoded = ''] = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/u.exec(text.trim()) ?? [];
  const key = Buffer.from(encoded, 'base64');
  if (key.length !== 33 || key[0] !== ED25519) throw new NoteError('this is not a verifier key of an Ed25519 key: <name>+<key id>+<key>');
  const raw = key.subarray(1);
  if (keyIdOf(name, raw).toString('hex') !== keyId) throw new NoteError('the id of the verifier key does not belong to its name and key');
  return {
    name,
    keyId: Buffer.from(keyId, 'hex'),
    publicKey: createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') } }),
  };
}

/** @param text ends with a newline */
export function signNote(text: string, name: string, privateKey: KeyObject): string {
  const { keyId } = verifierOf(name, privateKey);
  const signature = Buffer.concat([keyId, sign(null, Buffer.from(text), privateKey)]);
  return `${text}\n— ${name} ${signature.toString('base64')}\n`;
}

/**
 * Checks the signatures of known keys. Those of unknown keys are ignored.
 * @returns the signed text, and the first verifier whose signature it has
 * @throws NoteError if the note is malformed, no known key has signed it, or a signature of a known key is wrong
 */
export function openNote(note: string, verifiers: readonly NoteVerifier[]): { readonly text: string; readonly signer: NoteVerifier } {
  const { text, lines } = splitNote(note);
  const signers = lines.flatMap(({ name, signature }) => {
    const keyId = signature.subarray(0, KEY_ID_BYTES);
    const known = verifiers.filter((verifier) => verifier.name === name && verifier.keyId.equals(keyId));
    for (const { publicKey } of known) {
      if (!verify(null, Buffer.from(text), publicKey, signature.subarray(KEY_ID_BYTES))) throw new NoteError(`the signature of ${name} is wrong`);
    }
    return known;
  });
  const [signer] = signers;
  if (signer === undefined) {
    throw new NoteError(
      `it is signed by ${lines.map(({ name, signature }) => `${name}+${signature.toString('hex', 0, KEY_ID_BYTES)}`).join(', ')}, which is not a known key`,
    );
  }
  return { text, signer };
}

/** The text of a note whose signatures were not checked. @throws NoteError */
export function splitNote(note: string): { readonly text: string; readonly lines: readonly { readonly name: string; readonly signature: Buffer }[] } {
  const at = note.lastIndexOf('\n\n');
  // oxlint-disable-next-line no-control-regex -- notes must not contain them
  if (at === -1 || !note.endsWith('\n') || /[\x00-\x09\x0b-\x1f]/.test(note)) throw new NoteError('this is not a signed note');
  const signed = note.slice(at + 2, -1).split('\n');
  if (signed.length > MAX_SIGNATURES) throw new NoteError(`the note has more than ${MAX_SIGNATURES} signatures`);
  const lines = signed.map((line) => {
    const [, name = '', encoded = ''] = SIGNATURE_LINE.exec(line) ?? [];
    const signature = Buffer.from(encoded, 'base64');
    if (signature.length <= KEY_ID_BYTES) throw new NoteError(`this is not a signature of a note: ${JSON.stringify(line)}`);
    return { name, signature };
  });
  return { text: note.slice(0, at + 1), lines };
}

function keyIdOf(name: string, raw: Buffer): Buffer {
  return hash('sha256', Buffer.concat([Buffer.from(`${name}\n`), Buffer.from([ED25519]), raw]), 'buffer').subarray(0, KEY_ID_BYTES);
}

/** The 32 bytes of an Ed25519 public key. */
function rawKey(publicKey: KeyObject): Buffer {
  return Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url');
}
