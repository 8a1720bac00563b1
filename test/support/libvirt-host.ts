import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { chmod, type FileHandle, mkdir, mkdtemp, open, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { until } from './hub-system.js';

const run = promisify(execFile);
const CALL_PATIENCE_MS = 120_000;
const BIG = 64 * 1024 * 1024;

/** Where the system's libvirtd keeps what it knows. Each host shows its own folders there. */
const SYSTEM_FOLDERS: Readonly<Record<string, string>> = {
  etc: '/etc/libvirt',
  lib: '/var/lib/libvirt',
  run: '/run/libvirt',
  log: '/var/log/libvirt',
  cache: '/var/cache/libvirt',
};

/** No security labels, no cgroups, no log daemon: nothing that would reach beyond the test's own folders, or need more rights than a container has. */
const QEMU_CONF = `security_driver = "none"
remember_owner = 0
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
`;
const AS_ROOT = `user = "root"
group = "root"
dynamic_ownership = 0
`;
/** As the packages of distributions have it: guests have an account of their own, and get the files of their disks. */
const AS_NOBODY = `user = "nobody"
group = "nogroup"
dynamic_ownership = 1
`;

/**
 * A libvirtd of the test's own, of the `system` kind as hypervisors have it: as root, in a mount namespace where its configuration, state and logs lie below a
 * temporary directory. (Root's `session` would be the machine's one as well: libvirtd looks at the user, not at the address.) Guests outlive it, as they do in life.
 */
export class LibvirtHost {
  private daemon: ChildProcess | null = null;
  /**
   * Mount namespaces of all starts: what runs in one of them has been started by this host. Each is held open, because the kernel gives the number of
   * one that has ended to the next that is made, which may be another test's.
   */
  private readonly namespaces = new Map<string, FileHandle>();
  private starts = 0;

  private constructor(readonly directory: string) {}

  /** @param account that guests run as */
  static async create(account: 'root' | 'nobody' = 'root'): Promise<LibvirtHost> {
    const host = new LibvirtHost(await mkdtemp(join(tmpdir(), 'sendense-libvirt-')));
    for (const folder of [...Object.keys(SYSTEM_FOLDERS), 'disks']) await mkdir(join(host.directory, folder));
    await writeFile(join(host.directory, 'etc/qemu.conf'), `${QEMU_CONF}${account === 'root' ? AS_ROOT : AS_NOBODY}`);
    if (account !== 'root') await chmod(host.directory, 0o711);
    await writeFile(join(host.directory, 'libvirtd.conf'), `auth_unix_rw = "none"\nlog_outputs = "3:file:${host.directory}/libvirtd.log"\n`);
    const binds = Object.entries(SYSTEM_FOLDERS).map(([name, path]) => `mkdir -p ${path} && mount --bind ${host.directory}/${name} ${path}`);
    await writeFile(
      join(host.directory, 'start.sh'),
      ['set -e', ...binds, `exec libvirtd --config ${host.directory}/libvirtd.conf --pid-file ${host.directory}/libvirtd.pid`, ''].join('\n'),
    );
    try {
      await host.start();
    } catch (error) {
      await host.destroy();
      throw error;
    }
    return host;
  }

  /** For clients anywhere on the machine. */
  get uri(): string {
    return `qemu+unix:///system?socket=${this.directory}/run/libvirt-sock`;
  }

  /** A command that sees this host's libvirt where the machine's own is expected, at `qemu:///system`. */
  inside(...argv: readonly string[]): readonly [string, ...string[]] {
    return ['nsenter', `--mount=/proc/${this.daemon?.pid ?? 0}/ns/mnt`, '--', ...argv];
  }

  /** A folder for disk images. */
  get disks(): string {
    return join(this.directory, 'disks');
  }

  async start(): Promise<void> {
    this.starts += 1;
    const log = openSync(join(this.directory, `start-${this.starts}.log`), 'w');
    const daemon = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', join(this.directory, 'start.sh')], {
      stdio: ['ignore', log, log],
      env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
    });
    closeSync(log);
    this.daemon = daemon;
    await until(`libvirtd to answer (see ${this.directory})`, async () => {
      if (daemon.exitCode !== null) throw new Error(`libvirtd ended with ${daemon.exitCode}: ${await this.log()}`);
      const answers = (await this.virsh('uri')) !== '';
      // Not before it answers: until then it may be on its way into its namespace.
      await this.holdNamespace(daemon.pid ?? 0);
      return answers;
    });
  }

  /** Ends libvirtd alone; guests go on, and a later start finds them. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const daemon = this.daemon;
    if (daemon === null) return;
    daemon.kill(signal);
    await until('libvirtd to end', () => Promise.resolve(daemon.exitCode !== null || daemon.signalCode !== null));
    this.daemon = null;
  }

  async restart(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    await this.stop(signal);
    await this.start();
  }

  /** @returns what virsh prints. @throws Error with what it complains about */
  async virsh(...argv: readonly string[]): Promise<string> {
    const { stdout } = await run('virsh', ['-q', '-c', this.uri, ...argv], { timeout: CALL_PATIENCE_MS, maxBuffer: BIG });
    return stdout;
  }

  async define(xml: string): Promise<void> {
    await this.withFile(xml, (file) => this.virsh('define', file));
  }

  /** A virsh command with documents as arguments, e.g. `backup-begin DOMAIN BACKUP CHECKPOINT`. */
  async virshWith(argv: readonly string[], ...documents: readonly string[]): Promise<string> {
    const [first, ...others] = documents;
    if (first === undefined) return this.virsh(...argv);
    return this.withFile(first, (file) => this.virshWith([...argv, file], ...others));
  }

  /** The answer of qemu's monitor to a command of its human interface. */
  async monitor(domain: string, command: string): Promise<string> {
    return this.virsh('qemu-monitor-command', domain, '--hmp', command);
  }

  /** Many commands of the human interface, in order, by one client: thousands take seconds. @throws Error with the first complaint */
  async monitorAll(domain: string, commands: readonly string[]): Promise<void> {
    const running = run('virsh', ['-q', '-c', this.uri], { timeout: CALL_PATIENCE_MS, maxBuffer: BIG });
    running.child.stdin?.end(commands.map((command) => `qemu-monitor-command ${domain} --hmp '${command}'\n`).join(''));
    const { stdout, stderr } = await running;
    const complaint = `${stderr}\n${stdout}`.split('\n').find((line) => /error|failed|conflicts/i.test(line));
    if (complaint !== undefined) throw new Error(`${domain}: ${complaint}`);
  }

  /** How qemu calls the device of each disk, by target: what `qemu-io -d` writes through, as its guest would. */
  async diskDevices(domain: string): Promise<ReadonlyMap<string, string>> {
    const xml = await this.virsh('dumpxml', domain);
    const devices = new Map<string, string>();
    for (const [disk] of xml.matchAll(/<disk [\s\S]*?<\/disk>/g)) {
      const target = /<target dev='([^']+)' bus='([^']+)'/.exec(disk);
      const alias = /<alias name='([^']+)'/.exec(disk)?.[1];
      if (target?.[1] === undefined || alias === undefined) continue;
      devices.set(target[1], target[2] === 'virtio' ? `/machine/peripheral/${alias}/virtio-backend` : alias);
    }
    return devices;
  }

  /** The answer of qemu's machine protocol. The caller names the shape it expects. */
  async qmp<Answer>(domain: string, execute: string, args: object = {}): Promise<Answer> {
    const text = await this.virsh('qemu-monitor-command', domain, JSON.stringify({ execute, arguments: args }));
    return (JSON.parse(text) as { readonly return: Answer }).return;
  }

  async domains(): Promise<readonly string[]> {
    return lines(await this.virsh('list', '--all', '--name'));
  }

  async isActive(domain: string): Promise<boolean> {
    return !/shut off|crashed/.test(await this.virsh('domstate', domain));
  }

  async checkpoints(domain: string): Promise<readonly string[]> {
    return lines(await this.virsh('checkpoint-list', domain, '--name'));
  }

  /** @returns whether a backup job (or any other) runs on the domain */
  async hasJob(domain: string): Promise<boolean> {
    return !/Job type:\s+None/.test(await this.virsh('domjobinfo', domain));
  }

  async qemuPid(domain: string): Promise<number> {
    return Number(await readFile(join(this.directory, 'run/qemu', `${domain}.pid`), 'utf8'));
  }

  /** Ends a guest's qemu as a crash of the host would: nothing is written back, bitmaps stay marked as in use. */
  async crash(domain: string): Promise<void> {
    process.kill(await this.qemuPid(domain), 'SIGKILL');
    await until(`${domain} to be seen as shut off`, async () => !(await this.isActive(domain)));
  }

  async log(): Promise<string> {
    const parts = await Promise.all(['libvirtd.log', `start-${this.starts}.log`].map((name) => readFile(join(this.directory, name), 'utf8').catch(() => '')));
    return parts.join('\n');
  }

  /** Ends guests and daemon, and removes the directory. */
  async destroy(): Promise<void> {
    await this.stop('SIGTERM');
    for (const pid of await this.processes()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    }
    await until('the guests to end', async () => (await this.processes()).length === 0);
    for (const held of this.namespaces.values()) await held.close();
    this.namespaces.clear();
    await rm(this.directory, { recursive: true, force: true, maxRetries: 10 });
  }

  /** Pids of all that this host has started and that still runs: the daemon, guests, helpers. */
  async processes(): Promise<readonly number[]> {
    const pids: number[] = [];
    for (const entry of await readdir('/proc')) {
      const pid = Number(entry);
      if (!Number.isInteger(pid)) continue;
      const namespace = await namespaceOf(pid);
      if (namespace !== null && this.namespaces.has(namespace)) pids.push(pid);
    }
    return pids;
  }

  private async holdNamespace(pid: number): Promise<void> {
    const held = await open(`/proc/${pid}/ns/mnt`).catch(() => null);
    if (held === null) return;
    // Read from the handle, not from the process: it may have changed its namespace since.
    const namespace = await readlink(`/proc/self/fd/${held.fd}`);
    const isNew = namespace !== (await namespaceOf(process.pid)) && !this.namespaces.has(namespace);
    if (isNew) this.namespaces.set(namespace, held);
    else await held.close();
    if (!this.namespaces.has(namespace)) throw new Error('libvirtd has no namespace of its own');
  }

  private async withFile<Result>(content: string, use: (file: string) => Promise<Result>): Promise<Result> {
    const folder = await mkdtemp(join(this.directory, 'document-'));
    try {
      await writeFile(join(folder, 'document.xml'), content);
      return await use(join(folder, 'document.xml'));
    } finally {
      await rm(folder, { recursive: true });
    }
  }
}

async function namespaceOf(pid: number): Promise<string | null> {
  return readlink(`/proc/${pid}/ns/mnt`).catch(() => null);
}

function lines(text: string): readonly string[] {
  return text.split('\n').filter((line) => line.trim() !== '');
}
