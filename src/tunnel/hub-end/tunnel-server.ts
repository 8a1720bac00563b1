import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, type FSWatcher, mkdirSync, watch } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { userInfo } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { Logger } from '../../lib/logging/logger.js';
import { runTool } from '../../lib/process/run-tool.js';
import { errnoOf } from '../../lib/process/system-error.js';
import { toolEnvironment } from '../../lib/process/tool-environment.js';
import { ToolError } from '../../lib/process/tool-error.js';
import { ensureHostKey, HOST_KEY_FILE } from '../../lib/ssh/host-key.js';
import { AUTHORIZED_KEYS_FILE, SERVER_FILE, type TunnelServerPlace } from '../interface/tunnel-server-files.js';
import { type PermittedKeys, readPermittedKeys, standsAsBefore } from './permitted-keys.js';
import { sshdConfigText } from './sshd-config.plan.js';

const CONFIG_FILE = 'sshd_config';

export interface TunnelServerOptions {
  readonly tunnelDirectory: string;
  readonly listenHost: string;
  /** 0: any free port. */
  readonly listenPort: number;
  readonly log: Logger;
}

/**
 * Connections that have not logged in yet, in total and per address; further ones are closed immediately. A login takes a second, and sshd times out after
 * twenty.
 */
const MAX_STRANGERS = 64;
const MAX_STRANGERS_OF_ONE_ADDRESS = 16;
/** Maximum number of connections, so that processes do not run out: two for each of more nodes than one hub can serve. */
const MAX_CONNECTIONS = 1024;
/** The kernel reports changes; if it misses one, as network file systems do, polling detects it after this time. */
const RECHECK_MS = 2_000;
const ACCEPTED = /^Accepted publickey for \S+ from \S+ port \d+ ssh2: \S+ (SHA256:\S+)/;
const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin', '/usr/bin', '/bin'];

interface Connection {
  readonly address: string;
  readonly process: ChildProcess;
  /** The permissions at the start of the connection; sshd reads them no earlier. */
  readonly permittedBefore: PermittedKeys;
  /** Of the logged-in key; null before the login. */
  fingerprint: string | null;
}

/**
 * The hub's end of the tunnels: accepts TCP connections and passes each to its own `sshd -i`, an unprivileged process of this account. It therefore knows which
 * process serves which key, and ends it as soon as that key's permissions are revoked or changed.
 */
export class TunnelServer {
  private readonly connections = new Set<Connection>();
  private permitted: PermittedKeys = new Map();
  private watcher: FSWatcher | null = null;
  private timer: NodeJS.Timeout | null = null;
  private reading: Promise<void> = Promise.resolve();

  private constructor(
    private readonly options: TunnelServerOptions,
    private readonly sshd: string,
    private readonly server: Server,
  ) {}

  /** @throws ToolError when sshd is missing or refuses its configuration; Error when the port is in use */
  static async start(options: TunnelServerOptions): Promise<TunnelServer> {
    const sshd = findSshd();
    await mkdir(options.tunnelDirectory, { recursive: true, mode: 0o700 });
    await ensureHostKey(options.tunnelDirectory);
    const user = userInfo().username;
    const config = join(options.tunnelDirectory, CONFIG_FILE);
    const authorizedKeys = join(options.tunnelDirectory, AUTHORIZED_KEYS_FILE);
    await writeFile(config, sshdConfigText({ hostKey: join(options.tunnelDirectory, HOST_KEY_FILE), authorizedKeys, user }), { mode: 0o600 });
    // With privileges, sshd confines its unprivileged half to this empty directory.
    if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
    await runTool([sshd, '-t', '-f', config]);

    const server = createServer({
      pauseOnConnect: true,
      // sshd sets it only for terminals and commands; without it, short NBD answers wait for acknowledgements.
      noDelay: true,
    });
    const tunnelServer = new TunnelServer(options, sshd, server);
    await tunnelServer.reread();
    server.on('connection', (socket) => {
      tunnelServer.take(socket);
    });
    await listening(server, options);
    tunnelServer.watchKeys();
    const place: TunnelServerPlace = { user, listen_host: options.listenHost, listen_port: tunnelServer.port };
    const fresh = join(options.tunnelDirectory, `${SERVER_FILE}.${process.pid}.new`);
    await writeFile(fresh, `${JSON.stringify(place)}\n`, { mode: 0o644 });
    await rename(fresh, join(options.tunnelDirectory, SERVER_FILE));
    return tunnelServer;
  }

  get port(): number {
    const address = this.server.address();
    if (typeof address !== 'object' || address === null) throw new Error('the tunnel server has no port');
    return address.port;
  }

  /** Fingerprints of the logged-in keys, one per connection. */
  loggedIn(): readonly string[] {
    return [...this.connections].flatMap(({ fingerprint }) => (fingerprint === null ? [] : [fingerprint]));
  }

  /** Ends all connections. */
  async stop(): Promise<void> {
    this.watcher?.close();
    if (this.timer !== null) clearInterval(this.timer);
    const closed = new Promise<void>((resolve) => {
      this.server.close(() => {
        resolve();
      });
    });
    const gone = [...this.connections].map(({ process: sshd }) => (hasEnded(sshd) ? null : new Promise((resolve) => sshd.once('exit', resolve))));
    for (const connection of this.connections) end(connection);
    await Promise.all([closed, ...gone]);
  }

  private take(socket: Socket): void {
    const address = socket.remoteAddress ?? 'unknown';
    const refusal = this.refusal(address);
    if (refusal !== null) {
      this.options.log.warn('connection refused', { address, reason: refusal });
      socket.destroy();
      return;
    }
    const argv = [this.sshd, '-i', '-e', '-f', join(this.options.tunnelDirectory, CONFIG_FILE)];
    // A connection must not outlive this process: nothing would end it when its key is revoked. sshd passes SIGTERM on to its other half.
    const child = spawn('setpriv', ['--pdeathsig', 'TERM', ...argv], {
      stdio: [socket, socket, 'pipe'],
      detached: true,
      cwd: '/',
      env: toolEnvironment(),
    });
    const connection: Connection = { address, process: child, permittedBefore: this.permitted, fingerprint: null };
    this.connections.add(connection);
    child.once('error', (error) => {
      this.options.log.error('sshd cannot be started', { error });
      this.connections.delete(connection);
      socket.destroy();
    });
    child.once('spawn', () => {
      // The child has a copy; ours would keep the connection open after the child exits.
      socket.destroy();
    });
    child.once('exit', () => {
      this.connections.delete(connection);
      // Cleans up after a killed half.
      end(connection);
      this.options.log.info('connection ended', { address, key: connection.fingerprint });
    });
    this.listen(connection, child.stderr);
  }

  private refusal(address: string): string | null {
    const strangers = [...this.connections].filter(({ fingerprint }) => fingerprint === null);
    if (this.connections.size >= MAX_CONNECTIONS) return `there are ${MAX_CONNECTIONS} connections`;
    if (strangers.length >= MAX_STRANGERS) return `${MAX_STRANGERS} connections have not logged in`;
    const same = strangers.filter((stranger) => stranger.address === address).length;
    return same >= MAX_STRANGERS_OF_ONE_ADDRESS ? `${same} connections from there have not logged in` : null;
  }

  private listen(connection: Connection, stderr: Readable): void {
    createInterface({ input: stderr }).on('line', (line) => {
      this.options.log.debug('sshd says', { address: connection.address, line });
      const fingerprint = ACCEPTED.exec(line)?.[1];
      if (fingerprint === undefined) return;
      connection.fingerprint = fingerprint;
      this.options.log.info('key logged in', { address: connection.address, key: fingerprint });
      // The key may have been revoked between sshd's check and this line.
      this.reread().catch((error: unknown) => {
        this.options.log.error('the permitted keys cannot be read; closing the connection', { error });
        end(connection);
      });
    });
  }

  private watchKeys(): void {
    const look = (): void => {
      this.reread().catch((error: unknown) => {
        this.options.log.error('the permitted keys cannot be read; existing connections stay open', { error });
      });
    };
    // The file is replaced rather than rewritten, so the watch is on its directory.
    this.watcher = watch(this.options.tunnelDirectory, (_kind, name) => {
      if (name === AUTHORIZED_KEYS_FILE) look();
    });
    this.watcher.on('error', (error) => {
      this.options.log.warn('the permitted keys cannot be watched; changes apply with a delay', { error });
    });
    this.timer = setInterval(look, RECHECK_MS);
  }

  /** Reads the permitted keys, and closes connections whose keys are no longer permitted. Reads run one after another, so that the latest one counts. */
  private async reread(): Promise<void> {
    const done = this.reading.then(async () => {
      this.permitted = await readPermittedKeys(join(this.options.tunnelDirectory, AUTHORIZED_KEYS_FILE));
      for (const connection of this.connections) {
        const { fingerprint, permittedBefore, address } = connection;
        if (fingerprint === null || standsAsBefore(fingerprint, permittedBefore, this.permitted)) continue;
        this.options.log.warn('connection closed, because the permissions of its key were revoked or changed', { address, key: fingerprint });
        end(connection);
      }
    });
    this.reading = done.catch(() => undefined);
    await done;
  }
}

/** Kills the whole process group: sshd has a second process after login. */
function end({ process: { pid } }: Connection): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

async function listening(server: Server, { listenHost, listenPort }: TunnelServerOptions): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      reject(new Error(`cannot listen on port ${listenPort} of ${listenHost}: ${error.message}`, { cause: error }));
    });
    server.listen(listenPort, listenHost, resolve);
  });
}

/** sshd is in directories that the PATH of ordinary users lacks. @throws ToolError */
function findSshd(): string {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), ...SYSTEM_FOLDERS]) {
    const path = join(folder, 'sshd');
    try {
      accessSync(path, constants.X_OK);
      if (path.startsWith('/')) return path;
    } catch {
      // The next directory may have it.
    }
  }
  throw new ToolError('tool_missing', ['sshd'], null, '', 'is not installed; it comes with the package openssh-server');
}
