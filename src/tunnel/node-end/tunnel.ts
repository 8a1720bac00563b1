import { readFileSync, rmSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../../kernel/error-message.js';
import type { Logger } from '../../lib/logging/logger.js';
import { makeTemporaryDirectory } from '../../lib/process/temporary-directory.js';
import { errnoOf } from '../../lib/process/system-error.js';
import { TunnelConnection } from './tunnel-connection.js';
import { TunnelJournal } from '../interface/tunnel-journal.js';
import { parseTunnelSettings, TUNNEL_FILES, type TunnelSettings } from '../interface/tunnel-settings.js';
import { makeTunnelSocketDirectory, tunnelSocket } from '../interface/tunnel-sockets.js';
import type { TunnelConnectionPlan } from './tunnel-ssh.plan.js';
import { type TunnelState, tunnelStateOf, type TunnelCause } from '../interface/tunnel-state.plan.js';

export interface TunnelOptions {
  readonly tunnelDirectory: string;
  /** Number of SSH connections that share the ports. */
  readonly connections: number;
  /** The listening address of the node's API, `host:port`; null while it is not listening. */
  readonly nodeAddress: () => string | null;
  /** ISO 8601. */
  readonly now: () => string;
  readonly log: Logger;
}

/** How often to check whether key, pinned host key or settings were replaced. */
const LOOK_MS = 1_000;
/** How long to wait for a replaced connection before replacing the next. */
const REPLACE_PATIENCE_MS = 20_000;

interface Files {
  readonly settings: TunnelSettings;
  /** Everything that connections depend on, for comparison. */
  readonly fingerprint: string;
}

/**
 * A node's end of the tunnel: several SSH connections that together forward the hub's NBD ports to sockets and its API to this machine's loopback address, and
 * the node's API to the hub's. Each is probed end to end and re-established independently.
 */
export class Tunnel {
  private readonly leaving = new AbortController();
  private readonly journal: TunnelJournal;
  private readonly aesInHardware = hasAes();
  /** Directory of the probe sockets, whose paths must be short. */
  private readonly sockets = makeTemporaryDirectory('tunnel', process.env['RUNTIME_DIRECTORY']);
  private connections: readonly TunnelConnection[] = [];
  private running: Promise<void> = Promise.resolve();

  constructor(private readonly options: TunnelOptions) {
    this.journal = new TunnelJournal(options.tunnelDirectory, options.log);
  }

  /** Returns immediately; the connections come up over time, and the journal records their state. */
  start(): void {
    this.running = this.run();
  }

  get state(): TunnelState {
    return tunnelStateOf(this.connections.map(({ state }) => state));
  }

  async stop(): Promise<void> {
    this.leaving.abort();
    await this.running;
    await Promise.all(this.connections.map((connection) => connection.stop()));
    this.record(this.without({ code: 'stopped', detail: 'The tunnel program was stopped.' }));
    this.journal.close();
    rmSync(this.sockets, { recursive: true, force: true });
  }

  private async run(): Promise<void> {
    const { signal } = this.leaving;
    let used: string | null = null;
    while (!signal.aborted) {
      const found = await this.look();
      if ('problem' in found) {
        // Existing connections continue: a file that cannot be read right now is no reason to cut them.
        if (this.connections.length === 0) this.record(this.without(found.problem));
      } else if (found.fingerprint !== used) {
        used = found.fingerprint;
        await this.use(found);
      }
      await pause(LOOK_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Replaces one connection after another, so that they are never all down at once. */
  private async use(found: Files & { readonly nodeAddress: string }): Promise<void> {
    const { settings, nodeAddress } = found;
    const plans = Array.from({ length: this.options.connections }, (_, index) => this.planOf(index, settings, nodeAddress));
    this.options.log.info('connecting to the hub', { hub: `${settings.hub_host}:${settings.hub_port}`, connections: plans.length });
    if (this.connections.length === 0) {
      this.connections = plans.map((plan) => this.connectionOf(plan));
      this.note();
      for (const connection of this.connections) connection.start();
      return;
    }
    for (const [index, plan] of plans.entries()) {
      const connection = this.connections[index];
      if (connection === undefined || this.leaving.signal.aborted) return;
      connection.replace(plan);
      await this.isUp(connection);
    }
  }

  /** Also resolves when it does not come up in time. */
  private async isUp(connection: TunnelConnection): Promise<void> {
    const ends = performance.now() + REPLACE_PATIENCE_MS;
    while (connection.state.kind !== 'up' && performance.now() < ends && !this.leaving.signal.aborted) {
      await pause(100);
    }
  }

  private planOf(index: number, settings: TunnelSettings, nodeAddress: string): TunnelConnectionPlan {
    return {
      index,
      count: this.options.connections,
      settings,
      privateKey: join(this.options.tunnelDirectory, TUNNEL_FILES.privateKey),
      knownHosts: join(this.options.tunnelDirectory, TUNNEL_FILES.knownHosts),
      nodeAddress,
      exportSocket: (port) => tunnelSocket(this.options.tunnelDirectory, port),
      probeSocket: join(this.sockets, `${index}.sock`),
      aesInHardware: this.aesInHardware,
    };
  }

  private connectionOf(plan: TunnelConnectionPlan): TunnelConnection {
    return new TunnelConnection(plan, {
      log: this.options.log,
      onChange: () => {
        this.note();
      },
      othersHeardAt: () => Math.max(Number.NEGATIVE_INFINITY, ...this.connections.filter((_, index) => index !== plan.index).map(({ heardAt }) => heardAt)),
    });
  }

  private async look(): Promise<(Files & { readonly nodeAddress: string }) | { readonly problem: TunnelCause }> {
    const { tunnelDirectory } = this.options;
    await mkdir(tunnelDirectory, { recursive: true, mode: 0o700 });
    try {
      await makeTunnelSocketDirectory(tunnelDirectory);
      const [json, key, hosts] = await Promise.all(
        [TUNNEL_FILES.settings, TUNNEL_FILES.publicKey, TUNNEL_FILES.knownHosts].map((name) => readFile(join(tunnelDirectory, name), 'utf8')),
      );
      const settings = parseTunnelSettings(json ?? '');
      const nodeAddress = this.options.nodeAddress();
      if (nodeAddress === null) return { problem: { code: 'node_not_listening', detail: 'The node of this tunnel has not reported its port yet.' } };
      return { settings, nodeAddress, fingerprint: JSON.stringify([settings, key, hosts, nodeAddress]) };
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') {
        return {
          problem: {
            code: 'not_enrolled',
            detail: `${tunnelDirectory} has no tunnel settings: this node is not paired with a hub yet (sendense node enrol).`,
          },
        };
      }
      return { problem: { code: 'settings_unreadable', detail: messageOf(error) } };
    }
  }

  private without(cause: TunnelCause): TunnelState {
    return { state: 'down', cause, connections: { wanted: this.options.connections, up: 0 } };
  }

  private note(): void {
    if (!this.leaving.signal.aborted) this.record(this.state);
  }

  private record(state: TunnelState): void {
    if (this.journal.record(state, this.options.now())) this.options.log.info('tunnel state changed', { ...state });
  }
}

function hasAes(): boolean {
  try {
    return /^flags\s*:.*\baes\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'));
  } catch {
    return false;
  }
}
