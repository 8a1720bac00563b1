import { existsSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import { Clock } from '../../lib/clock/clock.js';
import { readOrMakeToken, readToken, writeWhole } from '../../lib/config/kept-files.js';
import { NodeConfig } from '../node.config.js';
import { HubClient } from '../hub-link/hub-client.js';
import { loggerFor } from '../../lib/logging/logger.js';
import type { NodePreparedKeys } from '../../contract/node-api.js';
import { NodeCredentials } from '../../lib/signed-calls/node-credentials.js';
import { callThroughSsh } from '../hub-link/call-through-ssh.js';
import { ensureKeyPair, readPublicKey } from '../../lib/ssh/host-key.js';
import { hostKeyIn, readTunnelSettings, TUNNEL_FILES } from '../../tunnel/interface/tunnel-settings.js';

/** What calls under way may still be signed with once the new token is in use. */
const PREVIOUS_COUNTS_MS = 60_000;
const CONFIRM_DEADLINE_MS = 30_000;

/**
 * The node's own key and token, and their rotation. Each step leaves files from which the next start goes on: `<file>.next` was made and is not used yet, `<token>.previous`
 * is accepted a little longer. Old and new both count at the hub in between, so that nothing is locked out whichever of them is found.
 */
@Injectable()
export class NodeKeys implements OnModuleInit, OnModuleDestroy {
  private readonly logger = loggerFor('NodeKeys');
  private confirming = false;
  private timer: NodeJS.Timeout | null = null;

  constructor(
    private readonly config: NodeConfig,
    private readonly credentials: NodeCredentials,
    private readonly clock: Clock,
  ) {}

  onModuleInit(): void {
    this.accept();
  }

  onModuleDestroy(): void {
    if (this.timer !== null) clearTimeout(this.timer);
  }

  /** Makes what the rotation will put to use; the same again for the same rotation. @throws DomainError node_not_enrolled */
  async prepare(rotationId: string): Promise<NodePreparedKeys> {
    await this.requireTunnel();
    if (readIfThere(this.rotationFile) !== rotationId) {
      // Of a rotation that the hub knows nothing of any more.
      for (const file of [this.next(this.keyFile), this.next(`${this.keyFile}.pub`), this.next(this.config.tokenFile)]) rmSync(file, { force: true });
      writeWhole(this.rotationFile, rotationId);
    }
    const publicKey = await this.makeKey();
    const token = readOrMakeToken(this.next(this.config.tokenFile));
    this.accept();
    return { rotation_id: rotationId, public_key: publicKey, token };
  }

  /** Returns at once; that the new keys are used the hub sees by a call that comes through them. @throws DomainError rotation_not_found */
  async activate(rotationId: string): Promise<void> {
    await this.requireTunnel();
    if (readIfThere(this.rotationFile) !== rotationId) {
      throw new DomainError('conflict', 'rotation_not_found', `This node has made no keys for rotation ${rotationId}.`, { rotation_id: rotationId });
    }
    if (this.confirming) return;
    this.confirming = true;
    // The answer goes out over a connection that ends when the hub has seen the new key.
    setImmediate(() => {
      void this.use(rotationId)
        .catch((error: unknown) => this.logger.warn('the new keys could not be shown to the hub; it will ask again', { rotation_id: rotationId, error }))
        .finally(() => {
          this.confirming = false;
        });
    });
  }

  private async use(rotationId: string): Promise<void> {
    this.putInPlace();
    const settings = await this.requireTunnel();
    const target = {
      host: settings.hub_host,
      tunnelPort: settings.hub_port,
      user: settings.user,
      hostKey: hostKeyIn(readFileSync(join(this.config.tunnelDirectory, TUNNEL_FILES.knownHosts), 'utf8')),
      key: { file: this.keyFile },
      apiPort: settings.hub_api_port,
    };
    const hub = new HubClient(this.config, this.clock, (call, signal) => callThroughSsh(target, call, signal));
    const path = `/api/v1/nodes/${encodeURIComponent(settings.node_id)}/keys-in-use`;
    const { status, body } = await hub.post(path, { rotation_id: rotationId }, AbortSignal.timeout(CONFIRM_DEADLINE_MS));
    if (status >= 300) throw new Error(`the hub answered ${status}: ${JSON.stringify(body)}`);
    // Calls of the hub that are under way count from now on, not from the replacement of the token.
    const old = readToken(this.previousToken);
    if (old !== null) writeWhole(this.previousToken, `${old}\n`);
    rmSync(this.rotationFile, { force: true });
    this.logger.info('the node uses its new keys', { rotation_id: rotationId });
    this.accept();
  }

  /** Each rename may be the last thing that this process does. */
  private putInPlace(): void {
    const { tokenFile } = this.config;
    if (existsSync(this.next(tokenFile))) {
      const old = readToken(tokenFile);
      if (old !== null) writeWhole(this.previousToken, `${old}\n`);
      renameSync(this.next(tokenFile), tokenFile);
      this.accept();
    }
    if (existsSync(this.next(this.keyFile))) {
      renameSync(this.next(this.keyFile), this.keyFile);
    }
    // Last: at this the tunnel sees that it has another key.
    if (existsSync(this.next(`${this.keyFile}.pub`))) renameSync(this.next(`${this.keyFile}.pub`), `${this.keyFile}.pub`);
  }

  /** `ssh-keygen` writes the public half beside the private one, under the name that ssh expects. */
  private async makeKey(): Promise<string> {
    const file = this.next(this.keyFile);
    const publicKey = await ensureKeyPair(file);
    if (existsSync(`${file}.pub`)) renameSync(`${file}.pub`, this.next(`${this.keyFile}.pub`));
    return (await readPublicKey(this.next(`${this.keyFile}.pub`))) ?? publicKey;
  }

  /** What the hub's calls may be signed with. */
  private accept(): void {
    const { tokenFile } = this.config;
    const agesOutMs = this.previousCountsUntil() - this.clock.now().getTime();
    if (agesOutMs <= 0) rmSync(this.previousToken, { force: true });
    const tokens = [tokenFile, this.next(tokenFile), this.previousToken].map((file) => readToken(file)).filter((token) => token !== null);
    this.credentials.replaceOwn(tokens);
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    if (agesOutMs === Infinity || agesOutMs <= 0) return;
    this.timer = setTimeout(() => this.accept(), agesOutMs);
    this.timer.unref();
  }

  /** Unix milliseconds; Infinity while there is none, or while the rotation is not through. */
  private previousCountsUntil(): number {
    if (!existsSync(this.previousToken) || existsSync(this.rotationFile)) return Infinity;
    return statSync(this.previousToken).mtimeMs + PREVIOUS_COUNTS_MS;
  }

  private async requireTunnel() {
    const settings = await readTunnelSettings(this.config.tunnelDirectory);
    if (settings !== null) return settings;
    throw new DomainError('conflict', 'node_not_enrolled', 'This node was not enrolled: it has no keys of its own.');
  }

  private next(file: string): string {
    return `${file}.next`;
  }

  private get keyFile(): string {
    return join(this.config.tunnelDirectory, TUNNEL_FILES.privateKey);
  }

  private get rotationFile(): string {
    return join(this.config.tunnelDirectory, 'rotation');
  }

  private get previousToken(): string {
    return `${this.config.tokenFile}.previous`;
  }
}

function readIfThere(file: string): string | null {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return null;
  }
}
