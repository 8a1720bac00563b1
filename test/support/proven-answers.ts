import type { IncomingMessage } from 'node:http';
import { answerProof, parseSignature, PROOF_HEADER } from '../../src/lib/signed-calls/call-signature.js';

/** The header by which a stand-in for a node shows that it has the token; none for a call that is not signed. */
export function proofOf(request: IncomingMessage, token: string, status: number, body: string): Record<string, string> {
  const signature = parseSignature(request.headers.authorization);
  if (signature === null || signature === 'malformed') return {};
  return { [PROOF_HEADER]: answerProof(token, signature.nonce, status, body) };
}
