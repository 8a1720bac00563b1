import { Injectable } from '@nestjs/common';

/** The credential of a node that has its own token. */
export interface NodeCredential {
  readonly nodeId: string;
  /** The URL at which the hub calls it. */
  readonly url: string;
  /** `enrolled`: its calls are accepted. Otherwise the reason why they are not. */
  readonly status: 'enrolled' | 'not_enrolled_yet' | 'revoked';
  /** Token that signs calls to the node; null: none yet, or none any more. */
  readonly send: string | null;
  /** Tokens that may sign its own calls: two during key rotation. */
  readonly accept: readonly string[];
}

/**
 * The tokens shared by hub and enrolled nodes, in memory. At the hub the context `nodes` builds them from events and files; at a node they are the node's own.
 * A node without an entry was registered by its address, and shares one token with all such nodes.
 */
@Injectable()
export class NodeCredentials {
  private byId: ReadonlyMap<string, NodeCredential> = new Map();
  private byUrl: ReadonlyMap<string, NodeCredential> = new Map();
  private own: readonly string[] | null = null;

  /** At the hub: replaces all credentials. */
  replace(credentials: readonly NodeCredential[]): void {
    this.byId = new Map(credentials.map((one) => [one.nodeId, one]));
    this.byUrl = new Map(credentials.map((one) => [one.url, one]));
  }

  /** At a node: replaces the tokens that may sign the hub's calls. */
  replaceOwn(tokens: readonly string[]): void {
    this.own = tokens;
  }

  /** null: unknown here, or registered by its address. */
  ofNode(nodeId: string): NodeCredential | null {
    return this.byId.get(nodeId) ?? null;
  }

  ofUrl(url: string): NodeCredential | null {
    return this.byUrl.get(url) ?? null;
  }

  get all(): readonly NodeCredential[] {
    return [...this.byId.values()];
  }

  /** null: this program is the hub, or a node whose only token was set at startup. */
  get ownTokens(): readonly string[] | null {
    return this.own;
  }
}
