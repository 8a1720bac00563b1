import { Injectable } from '@nestjs/common';

/** What a program knows of a node that has a token of its own. */
export interface NodeCredential {
  readonly nodeId: string;
  /** Where the hub calls it. */
  readonly url: string;
  /** `enrolled`: its calls count. Otherwise why they do not. */
  readonly status: 'enrolled' | 'not_enrolled_yet' | 'revoked';
  /** What calls to it are signed with; null: there is none (yet, or any more). */
  readonly send: string | null;
  /** What its own calls may be signed with: two while its keys are being rotated. */
  readonly accept: readonly string[];
}

/**
 * The tokens by which hub and enrolled nodes know each other, in memory. At the hub they are folded from events and files by the context `nodes`; at a node they are the
 * node's own. A node without an entry is one that was registered by its address, and shares the token of all such nodes.
 */
@Injectable()
export class NodeCredentials {
  private byId: ReadonlyMap<string, NodeCredential> = new Map();
  private byUrl: ReadonlyMap<string, NodeCredential> = new Map();
  private own: readonly string[] | null = null;

  /** At the hub: these and no others. */
  replace(credentials: readonly NodeCredential[]): void {
    this.byId = new Map(credentials.map((one) => [one.nodeId, one]));
    this.byUrl = new Map(credentials.map((one) => [one.url, one]));
  }

  /** At a node: what the hub's calls may be signed with. */
  replaceOwn(tokens: readonly string[]): void {
    this.own = tokens;
  }

  /** null: not known here, or registered by its address. */
  ofNode(nodeId: string): NodeCredential | null {
    return this.byId.get(nodeId) ?? null;
  }

  ofUrl(url: string): NodeCredential | null {
    return this.byUrl.get(url) ?? null;
  }

  get all(): readonly NodeCredential[] {
    return [...this.byId.values()];
  }

  /** null: this program is the hub, or a node whose one token was given to it at its start. */
  get ownTokens(): readonly string[] | null {
    return this.own;
  }
}
