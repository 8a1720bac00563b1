import { type ChildProcess, type ChildProcessWithoutNullStreams, execFile, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './hub-system.js';
import { type GatedTests, requireCondition, requireKernel, requireTools } from './require-tools.js';

export interface HostAnswer {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

const SCRIPT = join(import.meta.dirname, 'booted-host.sh');
const BOOT_PATIENCE_MS = 120_000;
const RUN_PATIENCE_MS = 400_000;

/** Tests on machines that a systemd of their own runs. */
export function requireBootedHosts(...tools: readonly string[]): GatedTests {
  const root = requireCondition(process.getuid?.() === 0, 'a machine of its own needs namespaces that only root may make');
  if (root.skipped !== null) return root;
  const needed = requireTools('unshare', 'nsenter', 'ip', 'systemctl', 'systemd-analyze', 'ssh-keygen', 'sshd', ...tools);
  return needed.skipped === null ? requireKernel(whyNoHostBoots()) : needed;
}

/** null: it can. */
function whyNoHostBoots(): string | null {
  const share = mkdtempSync(join(tmpdir(), 'sendense-probe-'));
  const name = `sendense-probe-${process.pid}`;
  const { status, stderr } = spawnSync(SCRIPT, ['probe', name, share], { encoding: 'utf8', timeout: BOOT_PATIENCE_MS });
  spawnSync(SCRIPT, ['clean', name], { timeout: BOOT_PATIENCE_MS });
  rmSync(share, { recursive: true });
  return status === 0 ? null : `this kernel does not let a machine be booted in namespaces: ${stderr.trim().split('\n').at(-1) ?? ''}`;
}

/**
 * A bare Debian for tests, run by a real systemd, with the programs of this machine and nothing of Sendense. What it writes is in memory and gone with it. Its directory
 * `/mnt/share` is `share` here.
 */
export class BootedHost {
  private constructor(
    readonly name: string,
    readonly share: string,
    private readonly child: ChildProcess,
    private systemd: number,
  ) {}

  static async boot(name: string): Promise<BootedHost> {
    const share = await mkdtemp(join(tmpdir(), `${name}-share-`));
    // Should this process be killed, the machine goes with it.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', SCRIPT, 'boot', name, share], { stdio: ['ignore', 'ignore', 'inherit'], detached: true });
    try {
      const host = new BootedHost(name, share, child, await systemdOf(name, child));
      await host.isUp();
      return host;
    } catch (error) {
      child.kill('SIGKILL');
      await removed(name, share);
      throw error;
    }
  }

  /** A network cable between two hosts, with an address at each end. */
  static async link(one: BootedHost, oneAddress: string, other: BootedHost, otherAddress: string): Promise<void> {
    const ends = ['link', 'add', 'wire', 'netns', String(one.systemd), 'type', 'veth', 'peer', 'name', 'wire', 'netns', String(other.systemd)];
    const { exitCode, stderr } = await execute('ip', ends);
    if (exitCode !== 0) throw new Error(`no cable between the hosts: ${stderr}`);
    for (const [host, address] of [
      [one, oneAddress],
      [other, otherAddress],
    ] as const) {
      await host.run(['ip', 'address', 'add', `${address}/24`, 'dev', 'wire']);
      await host.run(['ip', 'link', 'set', 'wire', 'up']);
    }
  }

  /** Runs a program there as root, with nothing of this process's environment. @returns its standard output @throws Error with what it said when it fails */
  async run(argv: readonly [string, ...string[]], input = ''): Promise<string> {
    const { exitCode, stdout, stderr } = await this.try(argv, input);
    if (exitCode !== 0) throw new Error(`on ${this.name}, ${argv.join(' ')} ended with ${exitCode}: ${stderr}${stdout}`);
    return stdout;
  }

  async try(argv: readonly [string, ...string[]], input = ''): Promise<HostAnswer> {
    return execute('nsenter', [...this.entrance(), ...argv], input);
  }

  /** Starts a program there, whose input stays open. */
  spawn(argv: readonly [string, ...string[]]): ChildProcessWithoutNullStreams {
    return spawn('nsenter', [...this.entrance(), ...argv]);
  }

  private entrance(): readonly string[] {
    const there = ['-t', String(this.systemd), '--mount', '--pid', '--net', '--uts', '--ipc', '--cgroup', '--root', '--wd', '--'];
    return [...there, 'env', '-i', 'HOME=/root', 'LC_ALL=C.UTF-8', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'];
  }

  /**
   * Takes its power away, and gives it back: what it has written is there, and nothing that ran. Its cable is gone, so link it again.
   */
  async powerCycle(): Promise<void> {
    await writeFile(`${this.share}.boots-again`, '');
    process.kill(this.systemd, 'SIGKILL');
    await until(`${this.name} to be off`, () => Promise.resolve(!existsSync(`/proc/${this.systemd}`)), BOOT_PATIENCE_MS);
    this.systemd = await systemdOf(this.name, this.child);
    await this.isUp();
  }

  private async isUp(): Promise<void> {
    // `degraded`: a service that the test has broken or that has no network yet does not keep it from being up.
    const up = async (): Promise<boolean> => /^(running|degraded)$/.test((await this.try(['systemctl', 'is-system-running'])).stdout.trim());
    await until(`${this.name} to be up`, up, BOOT_PATIENCE_MS);
  }

  /** Takes its power away. Everything that ran in it is gone, and all it has written. */
  async destroy(): Promise<void> {
    const gone = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await gone;
    await removed(this.name, this.share);
  }
}

async function systemdOf(name: string, child: ChildProcess): Promise<number> {
  return until(
    `systemd of ${name}`,
    async () => {
      if (child.exitCode !== null) throw new Error(`booted-host.sh ended with ${child.exitCode}`);
      const [unshare] = await childrenOf(child.pid ?? 0);
      const [first] = unshare === undefined ? [] : await childrenOf(unshare);
      return first !== undefined && (await readFile(`/proc/${first}/comm`, 'utf8').catch(() => '')).trim() === 'systemd' ? first : null;
    },
    BOOT_PATIENCE_MS,
  );
}

async function childrenOf(pid: number): Promise<readonly number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return text.split(' ').filter(Boolean).map(Number);
}

async function removed(name: string, share: string): Promise<void> {
  await execute(SCRIPT, ['clean', name]);
  await rm(share, { recursive: true, force: true, maxRetries: 10 });
}

async function execute(file: string, argv: readonly string[], input = ''): Promise<HostAnswer> {
  return new Promise((resolve, reject) => {
    const child = execFile(file, argv, { timeout: RUN_PATIENCE_MS, killSignal: 'SIGKILL', maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      const code = error?.code ?? 0;
      if (typeof code === 'number') resolve({ exitCode: error?.killed === true ? 255 : code, stdout, stderr });
      else reject(error ?? new Error(`${file} cannot be run`));
    });
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}
