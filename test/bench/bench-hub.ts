import { randomFillSync } from 'node:crypto';
import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import { HubSystem, type HubSystemOptions } from '../support/hub-system.js';

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

/** Times of one backup as its asker sees them, in milliseconds since the request was sent. */
export interface TimedBackup {
  readonly backup: BackupResponse;
  readonly answeredMs: number;
  readonly completedMs: number;
}

/** A hub with its own PostgreSQL and node, a repository, and VMs made for measuring. */
export class BenchHub {
  private repositoryId = '';

  private constructor(readonly system: HubSystem) {}

  static async start(options: Omit<HubSystemOptions, 'databaseUrl'> = {}): Promise<BenchHub> {
    const system = await HubSystem.create({ databaseUrl: null, answersAreChecked: false, ...options });
    const hub = new BenchHub(system);
    try {
      await system.start();
      hub.repositoryId = (
        await hub.post<{ repository_id: string }>('/repositories', { name: 'bench', type: 'local', path: system.repositoryPath })
      ).repository_id;
    } catch (error) {
      await system.destroy();
      throw error;
    }
    return hub;
  }

  /** @returns paths of the disk images */
  async addVm(name: string, disks: number, disk: { readonly sizeBytes: number; readonly dataBytes: number }, nodeId?: string): Promise<readonly string[]> {
    const folder = join(this.system.imageRoot, name);
    await mkdir(folder);
    const paths = Array.from({ length: disks }, (_, index) => join(folder, `disk${index}.qcow2`));
    for (const path of paths) await makeDisk(path, disk.sizeBytes, disk.dataBytes);
    await this.register(name, folder, nodeId);
    return paths;
  }

  /** @param nodeId default: the hub's own node */
  async register(name: string, folder: string, nodeId?: string): Promise<void> {
    await this.post('/vms', { name, source: 'image', source_ref: folder, ...(nodeId === undefined ? {} : { node_id: nodeId }) });
  }

  async registerDomain(name: string, uuid: string): Promise<void> {
    await this.post('/vms', { name, source: 'libvirt', source_ref: uuid });
  }

  async request(vmName: string, type: 'full' | 'incremental'): Promise<BackupResponse> {
    return this.post<BackupResponse>('/backups', { vm_name: vmName, repository_id: this.repositoryId, backup_type: type });
  }

  /** From the request to the event of the end, followed live; then waits, outside the measured time, until the hub is through with all that comes after. */
  async backUp(vmName: string, type: 'full' | 'incremental'): Promise<TimedBackup> {
    const begun = performance.now();
    const { backup_id } = await this.request(vmName, type);
    const answeredMs = performance.now() - begun;
    let completedMs = Number.NaN;
    await this.follow(backup_id, (event) => {
      if (event === 'BackupCompleted') completedMs = performance.now() - begun;
    });
    const backup = (await this.system.api<BackupResponse>('GET', `/backups/${backup_id}`)).body;
    if (backup.status !== 'completed') throw new Error(`the ${type} of ${vmName} ${backup.status}: ${JSON.stringify(backup.error)}`);
    return { backup, answeredMs, completedMs };
  }

  /** Tells the names of a backup's events as they come, until nothing more is to be done for it. */
  async follow(backupId: string, onEvent: (name: string) => void): Promise<void> {
    const token = (await readFile(join(this.system.dataDirectory, 'api.token'), 'utf8')).trim();
    const response = await fetch(`${this.system.url()}/api/v1/backups/${backupId}/events`, {
      headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream' },
    });
    if (!response.ok || response.body === null) throw new Error(`the events of ${backupId} answered ${response.status}`);
    let text = '';
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const blocks = text.split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) onEvent(/^event: ?(.*)$/m.exec(block)?.[1] ?? '');
    }
  }

  async remove(backupId: string): Promise<void> {
    await this.system.api('DELETE', `/backups/${backupId}`);
    await this.follow(backupId, () => undefined);
  }

  async post<Body>(path: string, body: object): Promise<Body> {
    const answer = await this.system.api<Body>('POST', path, body);
    if (answer.status >= 300) throw new Error(`POST ${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  }
}

/** A qcow2 image that begins with random data; the rest is a hole. */
export async function makeDisk(path: string, sizeBytes: number, dataBytes: number): Promise<void> {
  const raw = `${path}.raw`;
  const file = await open(raw, 'w');
  try {
    const chunk = Buffer.alloc(Math.min(4 * MIB, dataBytes));
    for (let written = 0; written < dataBytes; written += chunk.length) await file.write(randomFillSync(chunk), 0, Math.min(chunk.length, dataBytes - written));
    await file.truncate(sizeBytes);
  } finally {
    await file.close();
  }
  await execa('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, path]);
  await rm(raw);
}

/** Writes pieces of 64 KiB, evenly spread over the disk, through qemu, so that bitmaps record them. @returns what was written, in order */
export async function changeDisk(
  path: string,
  sizeBytes: number,
  share: number,
  seed: number,
): Promise<readonly { readonly offset: number; readonly length: number }[]> {
  const grain = 64 * KIB;
  const count = Math.floor((sizeBytes * share) / grain);
  const step = Math.floor(sizeBytes / grain / count) * grain;
  const extents = Array.from({ length: count }, (_, index) => ({ offset: index * step + (seed % (step / grain)) * grain, length: grain }));
  const commands = extents.map(({ offset, length }, index) => `write -q -P ${1 + ((index + seed) % 255)} ${offset} ${length}\n`);
  await execa('qemu-io', ['-f', 'qcow2', path], { input: commands.join(''), stdout: 'ignore' });
  return extents;
}

/** What earlier rounds have written is on the disk, so that nobody pays for it later. */
export async function settleDisks(): Promise<void> {
  await execa('sync');
}
