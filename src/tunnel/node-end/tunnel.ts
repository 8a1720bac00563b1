import { readFileSync, rmSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../../kernel/error-message.js';
import type { Logger } from '../../lib/logging/logger.js';
import { makePassingFolder } from '../../lib/process/passing-folder.js';
import { errnoOf } from '../../lib/process/system-error.js';
import { TunnelConnection } from './tunnel-connection.js';
import { TunnelJournal } from '../interface/tunnel-journal.js';
import { parseTunnelSettings, TUNNEL_FILES, type TunnelSettings } from '../interface/tunnel-settings.js';
import { makeTunnelSocketDirectory, tunnelSocket } from '../interface/tunnel-sockets.js';
import type { TunnelConnectionPlan } from './tunnel-ssh.plan.js';
import { type TunnelState, tunnelStateOf, type TunnelCause } from '../interface/tunnel-state.plan.js';

export interface TunnelOptions {
  readonly tunnelDirectory: string;
  /** SSH connections that share the ports. */
  readonly connections: number;
  /** Where the node's API listens, `host:port`; null while it does not. */
  readonly nodeAddress: () => string | null;
  /** ISO 8601. */
  readonly now: () => string;
  readonly log: Logger;
}

/** How often it is looked whether key, pinned host key or settings have been replaced. */
const LOOK_MS = 1_000;
/** How long the others wait until a connection has come up with what is new. */
const REPLACE_PATIENCE_MS = 20_000;

interface Files {
  readonly settings: TunnelSettings;
  /** Everything that connections depend on, to be compared. */
  readonly fingerprint: string;
}

/**
 * A node's end of the tunnel: several SSH connections that together bring the hub's NBD ports to sockets and its API to this machine's loopback, and the node's API to the hub's. Each is
 * probed from end to end and held up by itself.
 */
export class Tunnel {
  private readonly leaving = new AbortController();
  private readonly journal: TunnelJournal;
  private readonly aesInHardware = hasAes();
  /** Of sockets for probes: their paths must be short. */
  private readonly sockets = makePassingFolder('tunnel', process.env['RUNTIME_DIRECTORY']);
  private connections: readonly TunnelConnection[] = [];
  private running: Promise<void> = Promise.resolve();

  constructor(private readonly options: TunnelOptions) {
    this.journal = new TunnelJournal(options.tunnelDirectory, options.log);
  }

  /** Returns at once; the connections come up by and by, and the journal tells how they fare. */
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
    this.record(this.without({ code: 'stopped', detail: 'The tunnel program was ended.' }));
    this.journal.close();
    rmSync(this.sockets, { recursive: true, force: true });
  }

  private async run(): Promise<void> {
    const { signal } = this.leaving;
    let used: string | null = null;
    while (!signal.aborted) {
      const found = await this.look();
      if ('problem' in found) {
        // What stands goes on: a file that cannot be read now is no reason to cut it.
        if (this.connections.length === 0) this.record(this.without(found.problem));
      } else if (found.fingerprint !== used) {
        used = found.fingerprint;
        await this.use(found);
      }
      await pause(LOOK_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** One connection after another, so that never all of them are down because of it. */
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

  /** Resolves too when it does not come up in time. */
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
      if (nodeAddress === null)
        return { problem: { code: 'node_not_listening', detail: 'The node beside this tunnel has not told yet on which port it listens.' } };
      return { settings, nodeAddress, fingerprint: JSON.stringify([settings, key, hosts, nodeAddress]) };
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') {
        return {
          problem: {
            code: 'not_enrolled',
            detail: `${tunnelDirectory} does not hold what a tunnel needs: this node has not been paired with a hub yet (sendense node enrol).`,
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
    if (this.journal.record(state, this.options.now())) this.options.log.info('the tunnel has changed', { ...state });
  }
}

function hasAes(): boolean {
  try {
    return /^flags\s*:.*\baes\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'));
  } catch {
    return false;
  }
}
