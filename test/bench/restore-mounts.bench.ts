import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { execa } from 'execa';
import { makeGuestDisk } from '../support/guest-disk.js';
import { HubSystem, until } from '../support/hub-system.js';
import { atMost, type BenchOptions, type BenchResult, inMilliseconds, inSeconds, median, ratio } from './measure.js';

const MIB = 1024 * 1024;
const BACKUP_PATIENCE_MS = 600_000;

interface Sizes {
  readonly bigMib: number;
  /** Entries of the large folder. */
  readonly folder: number;
  /** Small files to be archived. */
  readonly small: number;
  readonly rounds: number;
  readonly diskMib: number;
}

const SMOKE: Sizes = { bigMib: 64, folder: 5_000, small: 500, rounds: 1, diskMib: 256 };
const FULL: Sizes = { bigMib: 1024, folder: 100_000, small: 10_000, rounds: 5, diskMib: 2048 };

interface Mounted {
  readonly mount_id: string;
  readonly mount_path: string;
}

/** File-level restore against the bare tools on the same mount. Needs root. */
export async function benchRestoreMounts({ smoke }: BenchOptions): Promise<BenchResult> {
  const sizes = smoke ? SMOKE : FULL;
  const system = await HubSystem.create({ databaseUrl: null, answersAreChecked: false, env: { SENDENSE_MOUNT_DRIVER: 'fuse' } });
  try {
    await system.start();
    const backupId = await backUpGuest(system, sizes);
    const firstListing: number[] = [];
    const firstPage: number[] = [];
    const download: number[] = [];
    const cat: number[] = [];
    const archive: number[] = [];
    const tar: number[] = [];
    /** Each on a mount of its own and with nothing in memory, as a restore finds things. */
    const coldly = async (figures: number[], work: (mounted: Mounted) => Promise<unknown>): Promise<void> => {
      const mounted = (await system.api<Mounted>('POST', '/restore/mount', { backup_id: backupId, disk_index: 0 })).body;
      await dropCaches();
      figures.push(await timed(() => work(mounted)));
      await system.api('DELETE', `/restore/${mounted.mount_id}`);
    };
    for (let round = 0; round < sizes.rounds; round++) {
      await dropCaches();
      const begun = performance.now();
      const mounted = (await system.api<Mounted>('POST', '/restore/mount', { backup_id: backupId, disk_index: 0 })).body;
      await system.api('GET', `/restore/${mounted.mount_id}/files?path=/`);
      firstListing.push(performance.now() - begun);
      firstPage.push(await timed(() => system.api('GET', `/restore/${mounted.mount_id}/files?path=/many`)));
      await system.api('DELETE', `/restore/${mounted.mount_id}`);
      await coldly(download, (fresh) => fetchAway(system, fresh, 'download?path=/big'));
      await coldly(cat, (fresh) => thrownAway(['cat', join(fresh.mount_path, 'big')]));
      await coldly(archive, (fresh) => fetchAway(system, fresh, 'download-directory?path=/small&format=tar.gz'));
      await coldly(tar, (fresh) => thrownAway(['tar', '-C', fresh.mount_path, '-cz', 'small']));
    }
    const memory = await memoryMib(system.hubPid ?? 0);
    const show = (values: readonly number[]): string => inSeconds(median(values));
    return {
      title: 'File-level restore',
      notes: [
        `One ext4 file system in a GPT partition: a file of ${sizes.bigMib} MiB, a folder of ${sizes.folder} entries, one of ${sizes.small} small files; driver fuse.`,
        `Medians of ${sizes.rounds} mounts. Each is measured on a mount of its own, with the caches of the machine dropped before.`,
        'Downloads by curl over HTTP; the output of all is thrown away.',
      ],
      head: ['what', 'Sendense', 'bare tool'],
      rows: [
        ['mount to first listing', show(firstListing), ''],
        [`first page of ${sizes.folder} entries`, inMilliseconds(median(firstPage)), ''],
        [`download of ${sizes.bigMib} MiB, against cat`, show(download), show(cat)],
        [`tar.gz of ${sizes.small} files, against tar`, show(archive), show(tar)],
      ],
      targets: [
        atMost('mount request to first listing', 1000, median(firstListing), inSeconds),
        atMost(`first page of a folder of ${sizes.folder} entries`, 150, median(firstPage), inMilliseconds),
        atMost('download against cat', 1.3, median(download) / median(cat), ratio),
        atMost('tar.gz against tar', 1.5, median(archive) / median(tar), ratio),
        atMost('memory of the hub at its peak', 350, memory, (value) => `${value.toFixed(0)} MiB`),
      ],
    };
  } finally {
    await system.destroy();
  }
}

async function backUpGuest(system: HubSystem, sizes: Sizes): Promise<string> {
  const folder = join(system.imageRoot, 'bench');
  await mkdir(folder);
  await makeGuestDisk(join(folder, 'disk0.qcow2'), { filesystem: 'ext4', table: 'gpt', mib: sizes.diskMib, fill: (root) => fill(root, sizes) });
  const repository = await system.api<{ repository_id: string }>('POST', '/repositories', { name: 'main', type: 'local', path: system.repositoryPath });
  await system.api('POST', '/vms', { name: 'bench', source: 'image', source_ref: folder });
  const request = { vm_name: 'bench', repository_id: repository.body.repository_id, backup_type: 'full' };
  const { backup_id } = (await system.api<{ backup_id: string }>('POST', '/backups', request)).body;
  const isDone = async (): Promise<boolean> => (await system.api<{ status: string }>('GET', `/backups/${backup_id}`)).body.status === 'completed';
  await until('the backup', isDone, BACKUP_PATIENCE_MS);
  return backup_id;
}

async function fill(root: string, sizes: Sizes): Promise<void> {
  const big = await open(join(root, 'big'), 'w');
  const chunk = randomBytes(4 * MIB);
  for (let written = 0; written < sizes.bigMib; written += 4) await big.write(chunk);
  await big.close();
  await mkdir(join(root, 'many'));
  for (let index = 0; index < sizes.folder; index++) await writeFile(join(root, 'many', `entry-${index}`), '');
  await mkdir(join(root, 'small'));
  for (let index = 0; index < sizes.small; index++) await writeFile(join(root, 'small', `file-${index}`), `${index} ${'text '.repeat(100 + (index % 300))}`);
}

/** curl, because a client in this process would take the time of the same core as the measuring. */
async function fetchAway(system: HubSystem, { mount_id }: Mounted, path: string): Promise<void> {
  const token = (await readFile(join(system.dataDirectory, 'api.token'), 'utf8')).trim();
  await execa('curl', ['-sS', '--fail', '-o', '/dev/null', '-H', `Authorization: Bearer ${token}`, `${system.url()}/api/v1/restore/${mount_id}/${path}`]);
}

/** tar reads, though its output is thrown away, because a compressor stands in between. */
async function thrownAway([program, ...options]: readonly [string, ...string[]]): Promise<void> {
  await execa(program, options, { stdin: 'ignore', stdout: 'ignore' });
}

async function dropCaches(): Promise<void> {
  await writeFile('/proc/sys/vm/drop_caches', '3').catch(() => undefined);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

async function memoryMib(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024;
}
