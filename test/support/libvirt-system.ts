import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import { BackupClient } from './backup-client.js';
import type { BareDomain } from './bare-domain.js';
import { HubSystem, until } from './hub-system.js';
import { LibvirtHost } from './libvirt-host.js';
import { LiveGuest, type NewLiveGuest } from './live-guest.js';
import { createTestDatabase, type TestDatabase } from './postgres.js';
import { SlowCopies } from './slow-copies.js';

const run = promisify(execFile);

/** A hub with its node beside a hypervisor with guests: what the proofs of live backups need, and what must be true whatever has happened. */
export class LibvirtSystem {
  private constructor(
    readonly host: LibvirtHost,
    readonly hub: HubSystem,
    readonly client: BackupClient,
    readonly copies: SlowCopies,
    private readonly database: TestDatabase | null,
    readonly repositoryId: string,
  ) {}

  /** @param how ownPostgres: the hub's own server, for tests that kill it */
  static async create(env: Readonly<Record<string, string>> = {}, how: { readonly ownPostgres?: boolean } = {}): Promise<LibvirtSystem> {
    const database = how.ownPostgres === true ? null : await createTestDatabase({ migrated: false });
    const host = await LibvirtHost.create();
    const hub = await HubSystem.create({
      databaseUrl: database?.databaseUrl ?? null,
      env: { SENDENSE_LOCAL_NODE_LIBVIRT_URI: host.uri, SENDENSE_CHAIN_MAX_LENGTH: '1000', ...env },
    });
    try {
      const copies = await SlowCopies.create(join(hub.directory, 'tools'));
      await hub.start({ PATH: copies.path });
      const client = new BackupClient(hub);
      return new LibvirtSystem(host, hub, client, copies, database, await client.createRepository('main', hub.repositoryPath));
    } catch (error) {
      await hub.destroy();
      await host.destroy();
      await database?.drop();
      throw error;
    }
  }

  /** A guest that runs, and is known to the hub by its name. @returns null as `LiveGuest.create` */
  async addGuest(options: NewLiveGuest, how: { readonly powered?: boolean } = {}): Promise<LiveGuest | null> {
    const guest = await LiveGuest.create(this.host, options);
    if (guest === null) return null;
    if (how.powered !== false) await guest.boot();
    await this.client.registerDomain(options.name, await this.uuidOf(options.name));
    return guest;
  }

  async uuidOf(domain: string): Promise<string> {
    return (await this.host.virsh('domuuid', domain)).trim();
  }

  async backUp(name: string, type: 'full' | 'incremental' | 'auto'): Promise<BackupResponse> {
    return this.client.backUp(name, this.repositoryId, type);
  }

  /** The file of a restore point's disk. */
  fileOf(backup: BackupResponse, target: string): string {
    const path = backup.disk_results.find(({ disk_key }) => disk_key === target)?.qcow2_path;
    if (path === null || path === undefined) throw new Error(`backup ${backup.backup_id} has no disk ${target}`);
    return path;
  }

  /** Writes to a disk as its guest would, powered on or not. */
  async writeTo(guest: LiveGuest, target: string, ...commands: readonly string[]): Promise<void> {
    if ((await this.host.virsh('domstate', guest.name)).includes('running')) {
      const device = (await this.host.diskDevices(guest.name)).get(target) ?? '';
      await this.host.monitorAll(
        guest.name,
        commands.map((command) => `qemu-io -d ${device} "${command}"`),
      );
    } else {
      const format = guest.disks.find((disk) => disk.target === target)?.format ?? 'qcow2';
      await run('qemu-io', ['-f', format, ...commands.flatMap((command) => ['-c', command]), guest.path(target)]);
    }
  }

  /** Compares restore point and disk; the guest must not write. @throws Error with what qemu-img says when they differ */
  async requireSameContent(backup: BackupResponse, guest: LiveGuest, targets: readonly string[] = guest.disks.map(({ target }) => target)): Promise<void> {
    for (const target of targets) {
      const format = guest.disks.find((disk) => disk.target === target)?.format ?? 'qcow2';
      await run('qemu-img', ['compare', '-U', '-f', format, '-F', 'qcow2', guest.path(target), this.fileOf(backup, target)]);
    }
  }

  /** The same for a domain without an operating system. */
  async becomesQuietAt(domain: BareDomain): Promise<void> {
    return this.becomesQuiet({ name: domain.name, disks: domain.allDisks, path: (target) => domain.path(target) });
  }

  /** Waits until nothing of any backup is left at node, hub and hypervisor but what has to be. @throws Error that names what remains */
  async becomesQuiet(...guests: readonly BackedUp[]): Promise<void> {
    try {
      // The hypervisor is asked by a handful of programs, so not before there is nothing else to be found.
      await until('nothing to be left', async () => (await this.remainsHere()).length === 0 && (await this.remainsAt(guests)).length === 0);
    } catch (error) {
      const remains = [...(await this.remainsHere()), ...(await this.remainsAt(guests))];
      throw new Error(`left behind: ${remains.join('; ')}`, { cause: error });
    }
  }

  /** At hub and node. */
  private async remainsHere(): Promise<readonly string[]> {
    const held = await this.client.held();
    return [
      ...held.ports.map(({ port }) => `port ${port}`),
      ...held.programs,
      ...(await filesIn(join(this.hub.dataDirectory, 'local-node', 'libvirt-scratch'))),
      ...(await filesIn(join(this.hub.dataDirectory, 'local-node', 'run'))),
      ...(await filesIn(join(this.hub.dataDirectory, 'local-node', 'jobs'))),
      ...(await this.runningAndStray()),
    ];
  }

  /** At the hypervisor, and in the disks of guests. */
  private async remainsAt(guests: readonly BackedUp[]): Promise<readonly string[]> {
    const found: string[] = [];
    for (const guest of guests) {
      if (!(await this.host.domains()).includes(guest.name)) continue;
      const wanted = await this.changeIdsOf(guest.name);
      const checkpoints = await this.host.checkpoints(guest.name);
      if (checkpoints.some((name) => !wanted.has(name)) || checkpoints.length > 1)
        found.push(`${guest.name} has checkpoints ${checkpoints.join()}, its chain's head has ${[...wanted].join()}`);
      if (await this.host.isActive(guest.name)) {
        if (await this.host.hasJob(guest.name)) found.push(`${guest.name} has a job`);
        const nodes = await this.host.qmp<BlockNode[]>(guest.name, 'query-named-block-nodes');
        for (const node of nodes) {
          if (/backup|scratch|copy/.test(`${node['node-name']} ${node.drv}`)) found.push(`${guest.name} has block node ${node['node-name']}`);
          for (const { name = '' } of node['dirty-bitmaps'] ?? []) if (!wanted.has(name)) found.push(`${guest.name} has bitmap ${name}`);
        }
      } else {
        for (const { target, format } of guest.disks) {
          if (format === 'raw') continue;
          for (const name of await storedBitmaps(guest.path(target))) if (!wanted.has(name)) found.push(`${guest.name} ${target} has bitmap ${name}`);
        }
      }
    }
    return found;
  }

  async destroy(): Promise<void> {
    await this.hub.destroy();
    await this.host.destroy();
    await this.database?.drop();
  }

  /** What tells the changes since the newest restore point. */
  private async changeIdsOf(name: string): Promise<ReadonlySet<string>> {
    const { body } = await this.hub.api<{ backups: BackupResponse[] }>('GET', `/backups?vm_name=${name}&status=completed&limit=1`);
    return new Set(body.backups[0]?.disk_results.flatMap(({ change_id }) => change_id ?? []));
  }

  private async runningAndStray(): Promise<readonly string[]> {
    const { body } = await this.hub.api<{ backups: BackupResponse[] }>('GET', '/backups?limit=200');
    const running = body.backups.filter(({ status }) => status === 'pending' || status === 'running').map(({ backup_id }) => `backup ${backup_id}`);
    const wanted = new Set(body.backups.filter(({ status }) => status === 'completed').map(({ folder }) => folder));
    const vms = (await readdir(this.hub.repositoryPath, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map(({ name }) => name);
    const folders = (await Promise.all(vms.map(async (vm) => (await readdir(join(this.hub.repositoryPath, vm))).map((point) => `${vm}/${point}`)))).flat();
    return [...running, ...folders.filter((folder) => !wanted.has(folder)).map((folder) => `folder ${folder}`)];
  }
}

interface BackedUp {
  readonly name: string;
  readonly disks: readonly { readonly target: string; readonly format?: 'qcow2' | 'raw' }[];
  path(target: string): string;
}

interface BlockNode {
  readonly 'node-name': string;
  readonly drv: string;
  readonly 'dirty-bitmaps'?: readonly { readonly name?: string }[];
}

async function filesIn(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
}

async function storedBitmaps(file: string): Promise<readonly string[]> {
  const { stdout } = await run('qemu-img', ['info', '-U', '--output=json', file]);
  const info = JSON.parse(stdout) as { 'format-specific'?: { data?: { bitmaps?: { name: string }[] } } };
  return (info['format-specific']?.data?.bitmaps ?? []).map(({ name }) => name);
}
