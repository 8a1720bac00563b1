import type { Position } from '../../../../kernel/position.js';

/** The keys and tokens that the nodes' events grant. */
export abstract class NodeAccessPublisher {
  /** Resolves once all events up to the position are in effect: tokens in memory, keys in the tunnel server's file. @throws DomainError node_access_not_published */
  abstract published(position: Position): Promise<void>;
}
