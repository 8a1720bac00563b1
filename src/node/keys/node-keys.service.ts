import { existsSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import { Clock } from '../../lib/clock/clock.js';
import { readOrMakeToken, readToken, writeWhole } from '../../lib/config/kept-files.js';
import { NodeConfig } from '../node.config.js';
import { HubClient } from '../hub-link/hub-client.js';
import { loggerFor } from '../../lib/logging/logger.js';
import type { NodePreparedKeys } from '../../contract/keys.js';
import { NodeCredentials } from '../../lib/signed-calls/node-credentials.js';
import { callThroughSsh } from '../hub-link/call-through-ssh.js';
import { ensureKeyPair, readPublicKey } from '../../lib/ssh/host-key.js';
import { hostKeyIn, readTunnelSettings, TUNNEL_FILES } from '../../tunnel/interface/tunnel-settings.js';

/** How long calls in progress may still be signed with the previous token. */
const PREVIOUS_COUNTS_MS = 60_000;
const CONFIRM_DEADLINE_MS = 30_000;

/**
 * The node's own key and token, and their rotation. Each step leaves files from which the next start resumes: `<file>.next` was created but is not in use yet;
 * `<token>.previous` is accepted a little longer. The hub accepts old and new in between, so no combination of files locks the node out.
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

  /** Creates the key and token of a rotation, or returns the existing ones of the same rotation. @throws DomainError node_not_enrolled */
  async prepare(rotationId: string): Promise<NodePreparedKeys> {
    await this.requireTunnel();
    if (readIfThere(this.rotationFile) !== rotationId) {
      // Leftovers of a rotation that the hub has forgotten.
      for (const file of [this.next(this.keyFile), this.next(`${this.keyFile}.pub`), this.next(this.config.tokenFile)]) rmSync(file, { force: true });
      writeWhole(this.rotationFile, rotationId);
    }
    const publicKey = await this.makeKey();
    const token = readOrMakeToken(this.next(this.config.tokenFile));
    this.accept();
    return { rotation_id: rotationId, public_key: publicKey, token };
  }

  /** Returns immediately; the hub sees a call that arrives with the new keys. @throws DomainError rotation_not_found */
  async activate(rotationId: string): Promise<void> {
    await this.requireTunnel();
    if (readIfThere(this.rotationFile) !== rotationId) {
      throw new DomainError('conflict', 'rotation_not_found', `This node has no keys for rotation ${rotationId}.`, { rotation_id: rotationId });
    }
    if (this.confirming) return;
    this.confirming = true;
    // Let the answer go out first: its connection ends once the hub has seen the new key.
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
    // The grace period for the hub's calls in progress starts now, not when the token was replaced.
    const old = readToken(this.previousToken);
    if (old !== null) writeWhole(this.previousToken, `${old}\n`);
    rmSync(this.rotationFile, { force: true });
    this.logger.info('the node now uses its new keys', { rotation_id: rotationId });
    this.accept();
  }

  /** The process may die after any of these renames. */
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
    // Last, because the tunnel detects its new key by this file.
    if (existsSync(this.next(`${this.keyFile}.pub`))) renameSync(this.next(`${this.keyFile}.pub`), `${this.keyFile}.pub`);
  }

  /** `ssh-keygen` writes the public key next to the private one, under the name that ssh expects. */
  private async makeKey(): Promise<string> {
    const file = this.next(this.keyFile);
    const publicKey = await ensureKeyPair(file);
    if (existsSync(`${file}.pub`)) renameSync(`${file}.pub`, this.next(`${this.keyFile}.pub`));
    return (await readPublicKey(this.next(`${this.keyFile}.pub`))) ?? publicKey;
  }

  /** Sets the tokens with which the hub's calls may be signed. */
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

  /** Unix milliseconds; Infinity if there is no previous token, or while the rotation is unfinished. */
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
