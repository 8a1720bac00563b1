import type { NodeEvent } from '../model/node.events.js';
import type { NodeState } from '../model/node.state.js';

export type ExpirePairing = { readonly now: string };

/** A code that nobody has used in time is told of, once. */
export function decideExpirePairing({ now }: ExpirePairing, state: NodeState): readonly NodeEvent[] {
  if (state.status !== 'pairing' || state.failed !== null || now < state.offer.expires_at) return [];
  return [{ type: 'NodePairingFailed', data: { code: 'expired', detail: `Nobody used the code until ${state.offer.expires_at}.`, failed_at: now } }];
}
