import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer, request } from 'node:http';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { loggerFor } from '../../src/lib/logging/logger.js';
import { ensureKeyPair, HOST_KEY_FILE, publicKeyFingerprint } from '../../src/lib/ssh/host-key.js';
import { Tunnel } from '../../src/tunnel/node-end/tunnel.js';
import { readTunnelJournal } from '../../src/tunnel/interface/tunnel-journal.js';
import { TunnelServer } from '../../src/tunnel/hub-end/tunnel-server.js';
import { AUTHORIZED_KEYS_FILE } from '../../src/tunnel/interface/tunnel-server-files.js';
import { knownHostsText, TUNNEL_FILES, type TunnelSettings, tunnelSettingsText } from '../../src/tunnel/interface/tunnel-settings.js';
import type { TunnelStateName, TunnelTransition } from '../../src/tunnel/interface/tunnel-state.plan.js';
import { freePortRange } from './free-ports.js';
import { until } from './hub-system.js';

/** The node's end is on another loopback address, so that one machine can be both. */
const NODE_HOST = '127.0.0.2';

/** Both ends of a tunnel on this machine, with real ssh and sshd; hub and node are stand-ins that tell who they are. */
export class TunnelPair {
  readonly hubDirectory: string;
  readonly nodeDirectory: string;
  private readonly servers: Server[] = [];
  server: TunnelServer | null = null;
  tunnel: Tunnel | null = null;
  nodePort = 0;

  private constructor(
    readonly directory: string,
    readonly settings: TunnelSettings,
    private readonly serverPort: number,
  ) {
    this.hubDirectory = join(directory, 'hub');
    this.nodeDirectory = join(directory, 'node');
  }

  /** Keys and permissions are in place; nothing runs but the stand-ins. @param ports of the pool */
  static async create(ports: number, hubPort?: number): Promise<TunnelPair> {
    const directory = await mkdtemp(join(tmpdir(), 'sendense-tunnel-pair-'));
    // Pool, hub's API, reverse port, another node's reverse port, tunnel server.
    const first = await freePortRange(ports + 4);
    const settings: TunnelSettings = {
      hub_host: '127.0.0.1',
      hub_port: hubPort ?? first + ports + 3,
      user: userInfo().username,
      node_id: '0193a5c2-7d1e-7000-8000-000000000002',
      nbd_port_first: first,
      nbd_port_count: ports,
      hub_api_port: first + ports,
      reverse_port: first + ports + 1,
      local_host: NODE_HOST,
    };
    const pair = new TunnelPair(directory, settings, first + ports + 3);
    await mkdir(pair.hubDirectory, { mode: 0o700 });
    await mkdir(pair.nodeDirectory, { mode: 0o700 });
    await pair.pin(await ensureKeyPair(join(pair.hubDirectory, HOST_KEY_FILE)));
    await ensureKeyPair(join(pair.nodeDirectory, TUNNEL_FILES.privateKey));
    await writeFile(join(pair.nodeDirectory, TUNNEL_FILES.settings), tunnelSettingsText(settings));
    await pair.permit(pair.line(await pair.nodeKey()));
    pair.nodePort = await pair.answer('node');
    return pair;
  }

  get otherReversePort(): number {
    return this.settings.reverse_port + 1;
  }
  get tunnelServerPort(): number {
    return this.serverPort;
  }

  nodeKey(): Promise<string> {
    return ensureKeyPair(join(this.nodeDirectory, TUNNEL_FILES.privateKey));
  }
  async fingerprint(): Promise<string> {
    return publicKeyFingerprint(await this.nodeKey());
  }

  /** What the node's key may do: its line of authorized_keys. */
  line(key: string): string {
    const { nbd_port_first: first, nbd_port_count: count, hub_api_port: api, reverse_port: reverse, node_id: nodeId } = this.settings;
    const open = [...Array.from({ length: count }, (_, offset) => first + offset), api].map((port) => `permitopen="127.0.0.1:${port}"`);
    return `restrict,port-forwarding,${open.join(',')},permitlisten="127.0.0.1:${reverse}" ${key} node:${nodeId}\n`;
  }

  async permit(lines: string): Promise<void> {
    const file = join(this.hubDirectory, AUTHORIZED_KEYS_FILE);
    await writeFile(`${file}.new`, lines);
    await rename(`${file}.new`, file);
  }

  async pin(hostKey: string): Promise<void> {
    await writeFile(join(this.nodeDirectory, TUNNEL_FILES.knownHosts), knownHostsText(hostKey));
  }

  async startServer(): Promise<void> {
    this.server = await TunnelServer.start({
      tunnelDirectory: this.hubDirectory,
      listenHost: '127.0.0.1',
      listenPort: this.serverPort,
      log: loggerFor('TunnelServer'),
    });
  }

  startTunnel(connections = 2): void {
    this.tunnel = new Tunnel({
      tunnelDirectory: this.nodeDirectory,
      connections,
      nodeAddress: () => `127.0.0.1:${this.nodePort}`,
      now: () => new Date().toISOString(),
      log: loggerFor('Tunnel'),
    });
    this.tunnel.start();
  }

  async transitions(): Promise<readonly TunnelTransition[]> {
    return (await readTunnelJournal(this.nodeDirectory))?.transitions ?? [];
  }

  /** Waits for a state that came after the transition of this number. @returns the transition */
  async becomes(state: TunnelStateName, after = 0, code: string | null = null): Promise<TunnelTransition> {
    return until(`the tunnel to be ${state}`, async () => {
      const transitions = await this.transitions();
      return transitions.find((one) => one.number > after && one.state === state && (code === null || one.cause?.code === code));
    }).catch(async (error: unknown) => {
      throw new Error(`transitions: ${JSON.stringify(await this.transitions())}`, { cause: error });
    });
  }

  /** An HTTP server on loopback that answers everything with its name. @returns its port */
  async answer(name: string, port = 0): Promise<number> {
    const server = createHttpServer((_request, response) => {
      response.end(name);
    });
    return this.listen(server, port);
  }

  /** TCP servers on the hub's pool that send back what they get. */
  async echoOnPool(): Promise<void> {
    const { nbd_port_first: first, nbd_port_count: count } = this.settings;
    for (let port = first; port < first + count; port++)
      await this.listen(
        createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)),
        port,
      );
  }

  /** Stops a stand-in. */
  async silence(port: number): Promise<void> {
    for (const server of this.servers.splice(0)) {
      const address = server.address();
      if (typeof address === 'object' && address?.port === port) await closed(server);
      else this.servers.push(server);
    }
  }

  async destroy(): Promise<void> {
    await this.tunnel?.stop();
    await this.server?.stop();
    await Promise.all(this.servers.map(closed));
    await rm(this.directory, { recursive: true, force: true });
  }

  private async listen(server: Server, port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
    this.servers.push(server);
    const address = server.address();
    if (typeof address !== 'object' || address === null) throw new Error('the server has no port');
    return address.port;
  }
}

async function closed(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => {
      resolve();
    });
    if ('closeAllConnections' in server && typeof server.closeAllConnections === 'function') server.closeAllConnections();
  });
}

/** The whole answer of an HTTP server. @throws Error when there is none within five seconds */
export function ask(host: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request({ host, port, path: '/', agent: false, headers: { connection: 'close' }, timeout: 5_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.once('end', () => {
        resolve(text);
      });
    });
    asked.once('timeout', () => asked.destroy(new Error('no answer')));
    asked.once('error', reject);
    asked.end();
  });
}

/** Sends bytes to an echo and gives what comes back. */
export function echoed(socketPath: string, bytes: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    const socket = connect({ path: socketPath });
    socket.on('data', (part: Buffer) => parts.push(part));
    socket.once('end', () => {
      resolve(Buffer.concat(parts));
    });
    socket.once('error', reject);
    socket.end(bytes);
  });
}
