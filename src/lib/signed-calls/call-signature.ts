import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/**
 * Mutual authentication of hub and node: a call and its answer carry a MAC computed with the shared token, and never the token itself. Another program
 * listening on a loopback port meant for a tunnel learns nothing usable.
 */

/** Scheme of the `Authorization` header. */
export const SIGNATURE_SCHEME = 'Sendense-Mac';
/** Header of the answer. */
export const PROOF_HEADER = 'x-sendense-proof';
/** Largest accepted difference between the two clocks. Within it a nonce is accepted once; older calls are refused. */
export const MAX_CLOCK_DIFFERENCE_MS = 300_000;

export type CallDirection = 'to_node' | 'to_hub';

export interface CallToSign {
  readonly direction: CallDirection;
  readonly method: string;
  /** Path and query as sent. */
  readonly path: string;
  readonly body: string | Uint8Array;
}

export interface CallSignature {
  /** The calling node; null: any holder of the token. */
  readonly nodeId: string | null;
  /** The caller's Unix time in milliseconds. */
  readonly timeMs: number;
  readonly nonce: string;
  readonly mac: string;
}

const NONCE_BYTES = 18;
const HEADER = /^Sendense-Mac node=([A-Za-z0-9._-]{1,64}),time=(\d{1,16}),nonce=([A-Za-z0-9_-]{16,64}),mac=([A-Za-z0-9_-]{43})$/;
/** Stands for no node. */
const NOBODY = '-';

export function newNonce(): string {
  return randomBytes(NONCE_BYTES).toString('base64url');
}

export function signatureHeader(
  token: string,
  call: CallToSign,
  by: { readonly nodeId: string | null; readonly timeMs: number; readonly nonce: string },
): string {
  const signature = { ...by, mac: '' };
  return `${SIGNATURE_SCHEME} node=${by.nodeId ?? NOBODY},time=${by.timeMs},nonce=${by.nonce},mac=${callMac(token, call, signature)}`;
}

/** null: the header uses another scheme; `malformed`: this scheme, but an invalid format. */
export function parseSignature(authorization: string | undefined): CallSignature | 'malformed' | null {
  if (authorization === undefined || !authorization.startsWith(`${SIGNATURE_SCHEME} `)) return null;
  const [, nodeId = '', timeMs = '', nonce = '', mac = ''] = HEADER.exec(authorization) ?? [];
  if (mac === '') return 'malformed';
  return { nodeId: nodeId === NOBODY ? null : nodeId, timeMs: Number(timeMs), nonce, mac };
}

export function isSignedWith(token: string, call: CallToSign, signature: CallSignature): boolean {
  return token !== '' && sameText(callMac(token, call, signature), signature.mac);
}

/** The proof in the answer to the call with this nonce; it shows the caller that the answering program has the token too. */
export function answerProof(token: string, nonce: string, status: number, body: string | Uint8Array): string {
  return mac(token, ['sendense-answer-1', nonce, String(status), sha256(body)]);
}

export function isProof(proof: string | null, token: string, nonce: string, status: number, body: string | Uint8Array): boolean {
  return proof !== null && sameText(proof, answerProof(token, nonce, status, body));
}

function callMac(token: string, call: CallToSign, { nodeId, timeMs, nonce }: CallSignature): string {
  return mac(token, ['sendense-call-1', call.direction, call.method.toUpperCase(), call.path, nodeId ?? NOBODY, String(timeMs), nonce, sha256(call.body)]);
}

/** No part can contain a line feed, so different lists of parts never yield the same text. */
function mac(token: string, parts: readonly string[]): string {
  return createHmac('sha256', token).update(parts.join('\n')).digest('base64url');
}

function sha256(body: string | Uint8Array): string {
  return createHash('sha256').update(body).digest('hex');
}

function sameText(left: string, right: string): boolean {
  return left.length === right.length && timingSafeEqual(Buffer.from(left), Buffer.from(right));
}
