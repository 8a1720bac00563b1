import type { NodeEvent } from '../model/node.events.js';
import type { NodeState } from '../model/node.state.js';

export type ExpirePairing = { readonly now: string };

/** Records once that an unused code has expired. */
export function decideExpirePairing({ now }: ExpirePairing, state: NodeState): readonly NodeEvent[] {
  if (state.status !== 'pairing' || state.failed !== null || now < state.offer.expires_at) return [];
  return [{ type: 'NodePairingFailed', data: { code: 'expired', detail: `The code was not used by ${state.offer.expires_at}.`, failed_at: now } }];
}
