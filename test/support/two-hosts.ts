import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { chmod, chown, mkdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { NodeResponse } from '../../src/hub/nodes/nodes/model/node.response.js';
import type { RegisteredNodeDto } from '../../src/hub/nodes/nodes/register-node/register-node.dto.js';
import { readTunnelJournal } from '../../src/tunnel/interface/tunnel-journal.js';
import type { TunnelTransition } from '../../src/tunnel/interface/tunnel-state.plan.js';
import { BadNetwork } from './bad-network.js';
import type { EnrolOutcome } from './enrolled-node.js';
import { freePortRange } from './free-ports.js';
import { HubSystem, until } from './hub-system.js';
import { seeded } from './seeded.js';

const run = promisify(execFile);
const CLI = join(resolve(import.meta.dirname, '../..'), 'dist/src/cli/main.cli.js');
/** `daemon` of every Debian: it owns nothing. (Not `nobody`: systemd's name service gives that a locked password, with which sshd logs nobody in.) */
const UNPRIVILEGED = { uid: 1, gid: 1 };

/** Of the way from the node to the tunnel server, in milliseconds: between these, anew for each piece. */
const ROUND_TRIP_MS = { least: 20, most: 30 } as const;

/**
 * A hub, and a node on a host of its own as far as the network is concerned: the node lives in a network namespace, and a cable between the two (a veth pair) can be pulled. Behind the cable
 * comes a long way to the tunnel server, which can break. Needs root.
 */
export class TwoHosts {
  private readonly programs = new Map<string, ChildProcess>();
  nodeId = '';

  private constructor(
    readonly hub: HubSystem,
    private readonly namespace: string,
    /** The hub's end of the cable. */
    private readonly cable: string,
    private readonly subnet: string,
    private readonly tunnelPort: number,
    readonly way: BadNetwork,
    private readonly nodeSettings: Readonly<Record<string, string>>,
  ) {}

  /** @param env of the hub @param nodeSettings variables of the node */
  static async create(databaseUrl: string, env: Readonly<Record<string, string>> = {}, nodeSettings: Readonly<Record<string, string>> = {}): Promise<TwoHosts> {
    const name = `sd${randomInt(36 ** 5).toString(36)}`;
    const subnet = `10.${randomInt(128, 255)}.${randomInt(1, 255)}`;
    const wayPort = await freePortRange(2);
    const tunnelPort = wayPort + 1;
    const hub = await HubSystem.create({
      databaseUrl,
      env: {
        SENDENSE_START_LOCAL_NODE: 'false',
        SENDENSE_TUNNEL_ADVERTISE_HOST: `${subnet}.1`,
        SENDENSE_TUNNEL_ADVERTISE_PORT: String(wayPort),
        SENDENSE_NODE_PORT_FIRST: String(await freePortRange(4)),
        SENDENSE_NODE_PORT_COUNT: '4',
        ...env,
      },
    });
    const cable = `${name}h`;
    await run('ip', ['netns', 'add', name]);
    await run('ip', ['link', 'add', cable, 'type', 'veth', 'peer', 'name', `${name}n`, 'netns', name]);
    await run('ip', ['addr', 'add', `${subnet}.1/24`, 'dev', cable]);
    await run('ip', ['link', 'set', cable, 'up']);
    const host = `${subnet}.1`;
    const random = seeded(wayPort);
    const roundTripMs = (): number => ROUND_TRIP_MS.least + (ROUND_TRIP_MS.most - ROUND_TRIP_MS.least) * random();
    const way = await BadNetwork.between({ host, port: wayPort }, { host, port: tunnelPort }, roundTripMs);
    const hosts = new TwoHosts(hub, name, cable, subnet, tunnelPort, way, nodeSettings);
    await hosts.onNode('ip', 'addr', 'add', `${subnet}.2/24`, 'dev', `${name}n`);
    await hosts.onNode('ip', 'link', 'set', `${name}n`, 'up');
    await hosts.onNode('ip', 'link', 'set', 'lo', 'up');
    await mkdir(hosts.nodeImages, { recursive: true });
    return hosts;
  }

  get nodeDirectory(): string {
    return join(this.hub.directory, 'far');
  }
  get nodeImages(): string {
    return join(this.nodeDirectory, 'images');
  }
  private get tunnelDirectory(): string {
    return join(this.hub.dataDirectory, 'tunnel');
  }
  private get nodeEnv(): Record<string, string> {
    return {
      SENDENSE_DATA_DIRECTORY: join(this.nodeDirectory, 'data'),
      SENDENSE_IMAGE_ROOTS: this.nodeImages,
      SENDENSE_TELEMETRY_INTERVAL_MS: '200',
      ...this.nodeSettings,
    };
  }

  /** The tunnel server as an account without privileges, if that account can read this checkout. */
  async startTunnelServer(): Promise<void> {
    // Through which the account has to pass.
    await chmod(this.hub.dataDirectory, 0o711);
    await mkdir(this.tunnelDirectory, { recursive: true });
    const unprivileged = await run('setpriv', [...asUnprivileged(), 'test', '-r', CLI]).then(
      () => true,
      () => false,
    );
    if (unprivileged) {
      // As the installation makes it: the hub's, and sticky.
      await chown(this.tunnelDirectory, 0, UNPRIVILEGED.gid);
      await chmod(this.tunnelDirectory, 0o3770);
    }
    const env = {
      SENDENSE_TUNNEL_DIRECTORY: this.tunnelDirectory,
      SENDENSE_TUNNEL_LISTEN_HOST: `${this.subnet}.1`,
      SENDENSE_TUNNEL_LISTEN_PORT: String(this.tunnelPort),
    };
    const argv = [process.execPath, CLI, 'tunnel-server'];
    this.spawn('tunnel-server', unprivileged ? ['setpriv', ...asUnprivileged(), ...argv] : argv, env);
    await until('the tunnel server', async () => (await readFile(join(this.hub.directory, 'tunnel-server.log'), 'utf8')).includes('the tunnel server listens'));
  }

  /** From nothing to a node that the hub reaches through its tunnel. */
  async enrol(name: string): Promise<void> {
    const { body } = await this.hub.api<RegisteredNodeDto>('POST', '/nodes', { name });
    this.nodeId = body.node_id;
    const enrol = run('ip', ['netns', 'exec', this.namespace, process.execPath, CLI, 'node', 'enrol', '--json'], { env: { ...pathOnly(), ...this.nodeEnv } });
    enrol.child.stdin?.end(`${body.pairing_code ?? ''}\n`);
    const { public_key_fingerprint } = JSON.parse((await enrol).stdout) as EnrolOutcome;
    const approved = await this.hub.api('POST', `/nodes/${this.nodeId}/approve`, { public_key_fingerprint });
    if (approved.status !== 200) throw new Error(JSON.stringify(approved.body));
    this.startNode();
    this.startTunnel();
    await this.reachable();
  }

  startNode(): void {
    this.spawn('node', this.inNode(process.execPath, CLI, 'node'), this.nodeEnv);
  }

  startTunnel(): void {
    this.spawn('tunnel', this.inNode(process.execPath, CLI, 'tunnel'), this.nodeEnv);
  }

  async reachable(): Promise<void> {
    await until('the node to be reached', async () => (await this.node()).state === 'reachable', 120_000);
  }

  async node(): Promise<NodeResponse> {
    return (await this.hub.api<NodeResponse>('GET', `/nodes/${this.nodeId}`)).body;
  }

  async pullCable(): Promise<void> {
    await run('ip', ['link', 'set', this.cable, 'down']);
  }

  async plugCable(): Promise<void> {
    await run('ip', ['link', 'set', this.cable, 'up']);
  }

  /** Bytes that have come from the node by the cable, headers and repetitions included. */
  async bytesFromNode(): Promise<number> {
    return Number(await readFile(`/sys/class/net/${this.cable}/statistics/rx_bytes`, 'utf8'));
  }

  async transitions(): Promise<readonly TunnelTransition[]> {
    return (await readTunnelJournal(join(this.nodeDirectory, 'data', 'tunnel')))?.transitions ?? [];
  }

  async kill(program: 'node' | 'tunnel' | 'tunnel-server', signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.programs.get(program);
    child?.kill(signal);
    await until(`${program} to end`, () => Promise.resolve(child === undefined || child.exitCode !== null || child.signalCode !== null));
  }

  /** What the node's host holds apart from its programs: processes that move data, and what is in the run directories. */
  async heldOnNode(): Promise<readonly string[]> {
    const { stdout } = await run('find', [join(this.nodeDirectory, 'data', 'run'), join(this.nodeDirectory, 'data', 'jobs'), '-mindepth', '2']).catch(() => ({
      stdout: '',
    }));
    return [...(await this.hub.toolProcesses()), ...stdout.split('\n').filter((line) => line !== '')];
  }

  /** TCP ports that anything on the node's host listens on. */
  async listening(): Promise<readonly string[]> {
    const { stdout } = await run('ip', ['netns', 'exec', this.namespace, 'cat', '/proc/net/tcp', '/proc/net/tcp6']);
    return stdout.split('\n').filter((line) => / 0A /.test(line.slice(0, 110)));
  }

  async destroy(): Promise<void> {
    for (const program of ['tunnel', 'node', 'tunnel-server'] as const) await this.kill(program, 'SIGTERM');
    await this.hub.destroy();
    await this.way.destroy();
    // The cable goes with it.
    await run('ip', ['netns', 'del', this.namespace]);
  }

  private inNode(...argv: readonly string[]): readonly string[] {
    return ['ip', 'netns', 'exec', this.namespace, ...argv];
  }

  private async onNode(...argv: readonly string[]): Promise<void> {
    const [file = '', ...rest] = this.inNode(...argv);
    await run(file, rest);
  }

  private spawn(name: string, [file = '', ...rest]: readonly string[], env: Readonly<Record<string, string>>): void {
    const child = spawn(file, rest, { env: { ...pathOnly(), ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const log = createWriteStream(join(this.hub.directory, `${name}.log`), { flags: 'a' });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    this.programs.set(name, child);
  }
}

function asUnprivileged(): readonly string[] {
  return ['--reuid', String(UNPRIVILEGED.uid), '--regid', String(UNPRIVILEGED.gid), '--clear-groups'];
}

function pathOnly(): Record<string, string> {
  const { PATH = '' } = process.env;
  return { PATH: `${PATH}:/usr/sbin:/sbin`, HOME: '/nonexistent' };
}
