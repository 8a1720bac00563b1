import { DomainError } from '../../../../kernel/domain-error.js';
import type { NodeEvent, NodePaired } from '../model/node.events.js';
import type { NodeState } from '../model/node.state.js';

export type PairNodeData = {
  readonly node_id: string;
  /** Whether the proof matches the most recent code; the handler compares it in constant time. */
  readonly proof_holds: boolean;
  readonly paired: NodePaired['data'];
};

/** Wrong proofs after which a code becomes void. The secret cannot be guessed; the limit makes attempts visible. */
const MAX_WRONG_ATTEMPTS = 5;
/** How long a lost answer may be fetched again with the same key and token. */
const REPEAT_WITHIN_MS = 120_000;

export function decidePairNode({ node_id, proof_holds, paired }: PairNodeData, state: NodeState): readonly NodeEvent[] {
  const now = Date.parse(paired.paired_at);
  switch (state.status) {
    case 'none':
    case 'removed':
    case 'revoked':
      throw pairingRefused();
    case 'registered':
      throw used(node_id);
    case 'awaiting_approval': {
      const same = state.keys.public_key === paired.public_key && state.keys.token_sha256 === paired.token_sha256;
      if (proof_holds && same && now - Date.parse(state.paired_at) <= REPEAT_WITHIN_MS) return [];
      throw used(node_id);
    }
    case 'pairing': {
      if (state.failed !== null) throw worthless(node_id, state.failed);
      if (now >= Date.parse(state.offer.expires_at)) return [failed('expired', `The code expired at ${state.offer.expires_at}.`, paired.paired_at)];
      if (proof_holds) return [{ type: 'NodePaired', data: paired }];
      const attempt = state.wrong_attempts + 1;
      const detail = `A wrong pairing code was tried (attempt ${attempt} of ${MAX_WRONG_ATTEMPTS}).`;
      return [failed(attempt < MAX_WRONG_ATTEMPTS ? 'wrong_proof' : 'too_many_attempts', detail, paired.paired_at)];
    }
  }
}

/** The same answer whether or not there is such a node. */
export function pairingRefused(): DomainError {
  return new DomainError('unauthenticated', 'pairing_refused', 'This is not a valid pairing code.');
}

export function worthless(nodeId: string, code: 'wrong_proof' | 'expired' | 'too_many_attempts'): DomainError {
  if (code === 'wrong_proof') return pairingRefused();
  if (code === 'expired') return new DomainError('gone', 'pairing_code_expired', 'The pairing code has expired. Request a new one.', { node_id: nodeId });
  return new DomainError('gone', 'pairing_code_void', 'The pairing code is void because too many wrong codes were tried. Request a new one.', {
    node_id: nodeId,
  });
}

function used(nodeId: string): DomainError {
  return new DomainError(
    'gone',
    'pairing_code_used',
    'The pairing code was used before. If you did not use it, have the node removed and request a new code.',
    {
      node_id: nodeId,
    },
  );
}

function failed(code: 'wrong_proof' | 'expired' | 'too_many_attempts', detail: string, at: string): NodeEvent {
  return { type: 'NodePairingFailed', data: { code, detail, failed_at: at } };
}
