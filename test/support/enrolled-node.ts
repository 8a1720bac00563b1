import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { freePortRange } from './free-ports.js';
import { type HubSystem, until } from './hub-system.js';

const DIST = join(resolve(import.meta.dirname, '../..'), 'dist');
const CLI = join(DIST, 'src/cli/main.cli.js');

/** A program of dist that runs until it is stopped; its environment names the system's directory, so that the system's end is its end too. */
export class RunningProgram {
  private constructor(
    private readonly child: ChildProcess,
    readonly logFile: string,
  ) {}

  static start(argv: readonly string[], env: Readonly<Record<string, string>>, logFile: string, dist = DIST): RunningProgram {
    const child = spawn(process.execPath, [join(dist, 'src/cli/main.cli.js'), ...argv], { env: { ...pathOnly(), ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const log = createWriteStream(logFile, { flags: 'a' });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    return new RunningProgram(child, logFile);
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    this.child.kill(signal);
    await until('the program to end', () => Promise.resolve(this.child.exitCode !== null || this.child.signalCode !== null));
  }
}

export interface ProgramOutcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface EnrolOutcome {
  readonly node_id: string;
  readonly name: string;
  readonly public_key_fingerprint: string;
}

/** Runs a program of dist to its end. */
export async function runProgram(argv: readonly string[], env: Readonly<Record<string, string>>, input: string): Promise<ProgramOutcome> {
  const child = spawn(process.execPath, [CLI, ...argv], { env: { ...pathOnly(), ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString('utf8')));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString('utf8')));
  child.stdin.end(input);
  const code = await new Promise<number | null>((done) => child.once('close', done));
  return { code, stdout, stderr };
}

/** Runs commands of a page, in which `sendense` is the program of dist. @returns what they print @throws Error with it when one of them fails */
export async function runScript(script: string, folder: string, env: Readonly<Record<string, string>>): Promise<string> {
  const sendense = `sendense() { '${process.execPath}' '${CLI}' "$@"; }`;
  const child = spawn('bash', ['-s'], { cwd: folder, env: { ...pathOnly(), ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
  child.stdin.end(`set -eu -o pipefail\n${sendense}\n${script}\n`);
  const code = await new Promise<number | null>((done) => child.once('close', done));
  if (code !== 0) throw new Error(`the commands ended with ${code ?? 'a signal'}: ${text}`);
  return text;
}

/** The settings that a hub needs for nodes of the same machine to be enrolled. */
export async function enrolmentSettings(): Promise<Record<string, string>> {
  return { SENDENSE_TUNNEL_ADVERTISE_HOST: '127.0.0.1', SENDENSE_NODE_PORT_FIRST: String(await freePortRange(4)), SENDENSE_NODE_PORT_COUNT: '4' };
}

/** The tunnel server of a hub, on any free port. Waits until it listens. */
export async function startTunnelServer(system: HubSystem): Promise<RunningProgram> {
  const directory = join(system.dataDirectory, 'tunnel');
  const env = { SENDENSE_TUNNEL_DIRECTORY: directory, SENDENSE_TUNNEL_LISTEN_HOST: '127.0.0.1', SENDENSE_TUNNEL_LISTEN_PORT: '0' };
  const server = RunningProgram.start(['tunnel-server'], env, join(system.directory, 'tunnel-server.log'), system.dist);
  await until('the tunnel server to listen', async () => {
    const place: unknown = JSON.parse(await readFile(join(directory, 'server.json'), 'utf8'));
    return typeof place === 'object' && place !== null && (await readFile(server.logFile, 'utf8')).includes('the tunnel server listens');
  });
  return server;
}

/** A node with an own data directory, which finds its hub's ports on another loopback address than the hub has them on. */
export class EnrolledNode {
  private node: RunningProgram | null = null;
  private tunnel: RunningProgram | null = null;

  private constructor(
    private readonly system: HubSystem,
    readonly directory: string,
    private readonly localHost: string,
  ) {}

  static async create(system: HubSystem, name: string, localHost: string): Promise<EnrolledNode> {
    const directory = join(system.directory, name);
    await mkdir(directory);
    return new EnrolledNode(system, directory, localHost);
  }

  get dataDirectory(): string {
    return join(this.directory, 'data');
  }

  get env(): Record<string, string> {
    return {
      SENDENSE_DATA_DIRECTORY: this.dataDirectory,
      SENDENSE_LISTEN_HOST: this.localHost,
      SENDENSE_LISTEN_PORT: '0',
      SENDENSE_IMAGE_ROOTS: this.system.imageRoot,
      SENDENSE_TELEMETRY_INTERVAL_MS: '100',
    };
  }

  /** `sendense node enrol`, with the code on its standard input. */
  enrol(code: string, ...more: readonly string[]): Promise<ProgramOutcome> {
    return runProgram(['node', 'enrol', '--json', '--local-host', this.localHost, ...more], this.env, `${code}\n`);
  }

  start(): void {
    this.node = RunningProgram.start(['node'], this.env, join(this.directory, 'node.log'), this.system.dist);
    this.tunnel = RunningProgram.start(['tunnel'], this.env, join(this.directory, 'tunnel.log'), this.system.dist);
  }

  async stop(): Promise<void> {
    await this.tunnel?.stop();
    await this.node?.stop();
    this.node = null;
    this.tunnel = null;
  }

  async token(): Promise<string> {
    return (await readFile(join(this.dataDirectory, 'node.token'), 'utf8')).trim();
  }

  async log(): Promise<string> {
    const logs = await Promise.all(['node.log', 'tunnel.log'].map((name) => readFile(join(this.directory, name), 'utf8').catch(() => '')));
    return logs.join('\n');
  }
}

function pathOnly(): Record<string, string> {
  const { PATH = '', HOME = '', NODE_COMPILE_CACHE = '' } = process.env;
  return { PATH, HOME, ...(NODE_COMPILE_CACHE === '' ? {} : { NODE_COMPILE_CACHE }) };
}
