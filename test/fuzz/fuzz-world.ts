import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { execa } from 'execa';
import { type HubSystem, until } from '../support/hub-system.js';
import type { KnownValues } from './known-values.js';
import type { Tokens } from './request-generator.js';

const VMS = 4;
const REPOSITORIES = 3;
const POINTS = 6;
const MOST_MOUNTS = 3;
/** Each repository and each node costs the hub a process or a connection that it looks after. */
const MOST_REPOSITORIES = 8;
const MOST_NODES = 4;

interface Lists {
  readonly vms: readonly { readonly vm_id: string; readonly name: string }[];
  readonly repositories: readonly { readonly repository_id: string }[];
  readonly backups: readonly { readonly backup_id: string; readonly status: string }[];
  readonly mounts: readonly { readonly mount_id: string }[];
  readonly exports: readonly { readonly export_id: string }[];
  readonly jobs: readonly { readonly job_id: string }[];
  readonly ports: readonly { readonly job_id: string | null }[];
  readonly nodes: readonly { readonly node_id: string }[];
}

/** A hub with VMs, repositories and restore points to throw away, kept up while requests take them away. */
export class FuzzWorld {
  private made = 0;

  private constructor(
    readonly system: HubSystem,
    readonly databaseUrl: string,
    readonly tokens: Tokens,
    private readonly image: string,
    private readonly nodeId: string,
  ) {}

  /** Around a hub that runs. @param databaseUrl its database */
  static async around(system: HubSystem, databaseUrl: string): Promise<FuzzWorld> {
    const token = async (name: string): Promise<string> => (await readFile(join(system.dataDirectory, name), 'utf8')).trim();
    const image = join(system.directory, 'fuzz-disk.qcow2');
    const raw = join(system.directory, 'fuzz-disk.raw');
    await mkdir(join(system.directory, 'fuzz-files', 'etc'), { recursive: true });
    await execa('cp', ['/etc/hostname', join(system.directory, 'fuzz-files', 'etc', 'hostname')]);
    await execa('mkfs.ext4', ['-q', '-F', '-d', join(system.directory, 'fuzz-files'), raw, '2M']);
    await execa('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, image]);
    const [node] = (await system.api<{ nodes: { node_id: string }[] }>('GET', '/nodes')).body.nodes;
    if (node === undefined) throw new Error('the hub has no node');
    return new FuzzWorld(system, databaseUrl, { api: await token('api.token'), node: await token('node.token') }, image, node.node_id);
  }

  /** Makes what is missing, gives back what has piled up, and names to the generator what there is. */
  async upkeep(known: KnownValues): Promise<void> {
    const { vms } = await this.list('vms');
    for (let count = vms.length; count < VMS; count++) await this.addVm();
    const { repositories } = await this.list('repositories');
    for (let count = repositories.length; count < REPOSITORIES; count++) await this.addRepository();
    for (const { repository_id } of repositories.slice(MOST_REPOSITORIES)) await this.system.api('DELETE', `/repositories/${repository_id}`);
    const { nodes } = await this.list('nodes');
    for (const { node_id } of nodes.slice(MOST_NODES)) if (node_id !== this.nodeId) await this.system.api('DELETE', `/nodes/${node_id}`);
    await this.giveBack();
    const points = (await this.list('backups', 'status=completed&limit=50')).backups;
    for (let count = points.length; count < POINTS; count++) await this.addBackup();
    this.name(known, await this.list('vms'), await this.list('repositories'));
    for (const { backup_id } of points) known.add('backup_id', backup_id);
    known.add('source_ref', await this.addImages());
    const folder = join(this.system.directory, `fuzz-empty-${++this.made}`);
    await mkdir(folder);
    known.add('path', folder);
    known.add('target_path', folder);
    known.add('node_id', this.nodeId);
  }

  /** Ends all that runs, and waits until the hub has come to rest. */
  async settle(patienceMs: number): Promise<void> {
    const ends = performance.now() + patienceMs;
    for (;;) {
      await this.giveBack(0);
      for (const status of ['pending', 'running']) {
        for (const { backup_id } of (await this.list('backups', `status=${status}&limit=1000`)).backups)
          await this.system.api('POST', `/backups/${backup_id}/cancel`, {});
      }
      const running =
        (await this.list('backups', 'status=running&limit=10')).backups.length + (await this.list('backups', 'status=pending&limit=10')).backups.length;
      const restores = (await this.list('jobs', 'status=running&limit=10')).jobs.length;
      const mounts = (await this.list('mounts')).mounts.length;
      const programs = (await this.system.toolProcesses()).length;
      if (running + restores + mounts + programs === 0) return;
      if (performance.now() > ends)
        throw new Error(`the hub does not come to rest: ${running} backups, ${restores} restores, ${mounts} mounts, ${programs} programs`);
      await pause(500);
    }
  }

  private async giveBack(mostMounts = MOST_MOUNTS): Promise<void> {
    for (const { mount_id } of (await this.list('mounts')).mounts.slice(mostMounts)) await this.system.api('DELETE', `/restore/${mount_id}`);
    for (const { export_id } of (await this.list('exports')).exports.slice(mostMounts)) await this.system.api('DELETE', `/restore/exports/${export_id}`);
    const holders = new Set((await this.list('ports', 'state=allocated&limit=1000')).ports.map(({ job_id }) => job_id));
    // What was allocated by hand has the names of the generator; ports of backups go back by themselves.
    for (const job of holders) if (job !== null && !/^[0-9a-f]{8}-/.test(job)) await this.system.api('DELETE', `/nbd/ports/job/${encodeURIComponent(job)}`);
  }

  private async addImages(): Promise<string> {
    const folder = join(this.system.imageRoot, `fuzz-${++this.made}`);
    await mkdir(folder);
    for (let disk = 0; disk <= this.made % 2; disk++) await execa('cp', [this.image, join(folder, `disk${disk}.qcow2`)]);
    return folder;
  }

  private async addVm(): Promise<void> {
    const folder = await this.addImages();
    await this.system.api('POST', '/vms', { name: `fuzz vm ${this.made}`, source: 'image', source_ref: folder, node_id: this.nodeId });
  }

  private async addRepository(): Promise<void> {
    const path = join(this.system.directory, `fuzz-repository-${++this.made}`);
    await mkdir(path);
    await this.system.api('POST', '/repositories', { name: `fuzz repository ${this.made}`, type: 'local', path });
  }

  private async addBackup(): Promise<void> {
    const [vm] = (await this.list('vms', 'limit=1')).vms;
    const [repository] = (await this.list('repositories', 'limit=1')).repositories;
    if (vm === undefined || repository === undefined) return;
    await this.system.api('POST', '/backups', { vm_id: vm.vm_id, repository_id: repository.repository_id, backup_type: 'auto' });
  }

  private name(known: KnownValues, { vms }: Pick<Lists, 'vms'>, { repositories }: Pick<Lists, 'repositories'>): void {
    for (const { vm_id, name } of vms) {
      known.add('vm_id', vm_id);
      known.add('vm_name', name);
    }
    for (const { repository_id } of repositories) known.add('repository_id', repository_id);
    for (const projection of ['backups', 'vms', 'chains', 'nodes']) known.add('projection', projection);
  }

  private async list<Name extends keyof Lists>(name: Name, query = 'limit=1000'): Promise<Pick<Lists, Name>> {
    const place: Record<keyof Lists, string> = {
      vms: '/vms',
      repositories: '/repositories',
      backups: '/backups',
      mounts: '/restore/mounts',
      exports: '/restore/exports',
      jobs: '/restore/jobs',
      ports: '/nbd/ports',
      nodes: '/nodes',
    };
    return until(`GET ${place[name]}?${query}`, async () => {
      const { status, body } = await this.system.api<Pick<Lists, Name>>('GET', `${place[name]}?${query}`);
      return status === 200 ? body : null;
    });
  }
}
