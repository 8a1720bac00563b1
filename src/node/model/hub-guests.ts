import { DomainError } from '../../kernel/domain-error.js';
import type { NodeConfig } from '../node.config.js';

/** The hypervisor's operator decides this on the node, so that a compromised hub cannot. @throws DomainError hub_guests_refused */
export function requireHubGuests({ allowHubGuests }: Pick<NodeConfig, 'allowHubGuests'>): void {
  if (allowHubGuests) return;
  throw new DomainError('conflict', 'hub_guests_refused', 'This node neither defines nor starts virtual machines for its hub (allow_hub_guests is false).');
}
