import { copyFile, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { RestoreJobResponse } from '../../src/hub/restore/restore-jobs/model/restore-job.response.js';
import { until } from '../support/hub-system.js';
import { LibvirtHost } from '../support/libvirt-host.js';
import { LiveGuest } from '../support/live-guest.js';
import { BenchHub, GIB, KIB, makeDisk, MIB, settleDisks } from './bench-hub.js';
import { atMost, type BenchOptions, type BenchResult, inSeconds, median, ratio } from './measure.js';

const SHARE = 0.05;
const GRAIN = 64 * KIB;
const TARGETS = ['vda', 'vdb'] as const;
const OURS = 'ours';
const THEIRS = 'theirs';

/** What is measured, with the most that we may take of the other's time. */
const LIMITS = { full: 0.8, 'incremental, nothing changed': 0.7, 'incremental, 5 % changed': 0.6, 'restore of the chain': 0.8 } as const;
type Measured = keyof typeof LIMITS;
const MEASURED = Object.keys(LIMITS) as Measured[];

interface Times {
  readonly ours: number[];
  readonly theirs: number[];
  /** Without the sync of its files, which it does not do itself. */
  readonly theirsUnsynced: number[];
}

/** Backups and restores of a running VM against virtnbdbackup, on twins: it refuses a VM that has checkpoints of others. */
export async function benchLibvirt({ smoke }: BenchOptions): Promise<BenchResult> {
  const sizeBytes = smoke ? 64 * MIB : 2 * GIB;
  const rounds = smoke ? 1 : 3;
  const host = await LibvirtHost.create();
  const times = Object.fromEntries(MEASURED.map((name) => [name, { ours: [], theirs: [], theirsUnsynced: [] }])) as unknown as Record<Measured, Times>;
  let hub: BenchHub | null = null;
  try {
    hub = await BenchHub.start({ env: { SENDENSE_LOCAL_NODE_LIBVIRT_URI: host.uri } });
    await bootTwins(host, sizeBytes);
    await hub.registerDomain(OURS, (await host.virsh('domuuid', OURS)).trim());
    for (let round = 0; round < rounds; round++) await oneRound(host, hub, times, sizeBytes, round);
  } finally {
    await hub?.system.destroy();
    await host.destroy();
  }
  return {
    title: 'A running VM, against virtnbdbackup',
    notes: [
      `2 qcow2 disks of ${sizeBytes / MIB} MiB full of random data, of a running, idle guest; its twin with the same content for virtnbdbackup, which refuses a VM with checkpoints of others`,
      `${rounds} rounds of both, alternately, each a full, an incremental with nothing changed, one after ${SHARE * 100} % was rewritten in pieces of ${GRAIN / KIB} KiB through the running qemu, and a restore of the last; medians; the repository of both is on the disk of the images`,
      'system: from sending POST /backups to BackupCompleted, or from sending POST /restore/disks (to qcow2) to completed: hashing, checks and fsync included',
      'virtnbdbackup: type stream (its default), a worker per disk, without compression and progress bar; virtnbdrestore to qcow2; then a sync of the files that they wrote (but for its copies of kernel and initrd), which they do not do. Its time without the sync is shown as well',
    ],
    head: ['', 'system', 'virtnbdbackup', 'ratio', 'ratio of each round', 'without sync', 'ratio to that'],
    rows: MEASURED.map((name) => {
      const { ours, theirs, theirsUnsynced } = times[name];
      return [
        name,
        inSeconds(median(ours)),
        inSeconds(median(theirs)),
        ratio(median(ours) / median(theirs)),
        ours.map((value, index) => ratio(value / (theirs[index] ?? Number.NaN))).join(', '),
        inSeconds(median(theirsUnsynced)),
        ratio(median(ours) / median(theirsUnsynced)),
      ];
    }),
    targets: MEASURED.map((name) => atMost(`${name} / virtnbdbackup`, LIMITS[name], median(times[name].ours) / median(times[name].theirs), ratio)),
  };
}

async function bootTwins(host: LibvirtHost, sizeBytes: number): Promise<void> {
  const disks = TARGETS.map((target) => ({ target, mib: sizeBytes / MIB }));
  const guests: LiveGuest[] = [];
  for (const name of [OURS, THEIRS]) {
    const guest = await LiveGuest.create(host, { name, disks });
    if (guest === null) throw new Error('this benchmark needs the packages linux-image-cloud-amd64 and busybox-static');
    guests.push(guest);
  }
  const [ours, theirs] = guests;
  for (const target of TARGETS) {
    if (ours === undefined || theirs === undefined) continue;
    await makeDisk(ours.path(target), sizeBytes, sizeBytes);
    await copyFile(ours.path(target), theirs.path(target));
  }
  for (const guest of guests) await guest.boot();
}

async function oneRound(host: LibvirtHost, hub: BenchHub, times: Record<Measured, Times>, sizeBytes: number, round: number): Promise<void> {
  const work = join(host.directory, 'virtnbdbackup');
  await mkdir(work);
  const kept: string[] = [];
  const back = async (name: Measured, type: 'full' | 'incremental'): Promise<void> => {
    await alternately(round, {
      ours: async () => {
        const { backup, completedMs } = await hub.backUp(OURS, type);
        times[name].ours.push(completedMs);
        kept.push(backup.backup_id);
      },
      theirs: async () => {
        const argv = ['-d', THEIRS, '-l', type === 'full' ? 'full' : 'inc', '-o', join(work, 'backup'), '-S', work];
        await timeTheirs(times[name], join(work, 'backup'), host.inside('virtnbdbackup', ...argv, '-f', join(work, 'socket'), '-n'));
      },
    });
  };
  await back('full', 'full');
  await back('incremental, nothing changed', 'incremental');
  await rewritePieces(host, sizeBytes, round);
  await back('incremental, 5 % changed', 'incremental');
  await alternately(round, {
    ours: async () => times['restore of the chain'].ours.push(await timeRestore(hub, kept.at(-1) ?? '', join(hub.system.directory, 'restored'))),
    theirs: async () => {
      // A process and a socket per disk, side by side: with one for both, the server of the first takes the socket of the second away when it ends late.
      const restore = ['virtnbdrestore', '-i', join(work, 'backup'), '-o', join(work, 'restored'), '-n'];
      const perDisk = TARGETS.map((target) => [...restore, '-d', target, '-f', join(work, `socket-${target}`), '-L', join(work, `log-${target}`)]);
      await mkdir(join(work, 'restored'));
      await timeTheirs(times['restore of the chain'], join(work, 'restored'), ...perDisk.map((argv) => host.inside(...argv)));
    },
  });
  if (round === 0) await requireSameDisks(join(hub.system.directory, 'restored'), join(work, 'restored'));
  await rm(work, { recursive: true });
  await rm(join(hub.system.directory, 'restored'), { recursive: true });
  // Newest first: a backup with others on it is not removed.
  for (const backupId of kept.reverse()) await hub.remove(backupId);
}

async function alternately(round: number, sides: { readonly ours: () => Promise<unknown>; readonly theirs: () => Promise<unknown> }): Promise<void> {
  for (const side of round % 2 === 0 ? [sides.theirs, sides.ours] : [sides.ours, sides.theirs]) {
    await settleDisks();
    await side();
  }
}

async function timeTheirs(times: Times, written: string, ...commands: readonly (readonly [string, ...string[]])[]): Promise<void> {
  const begun = performance.now();
  await Promise.all(commands.map(([tool, ...argv]) => execa(tool, argv)));
  const ended = performance.now();
  const files = await readdir(written, { withFileTypes: true });
  // It also copies the kernel that our guests are booted with from outside, as hardly any VM is.
  const data = files.filter((file) => file.isFile() && !/^(vmlinuz|initrd)/.test(file.name)).map(({ name }) => join(written, name));
  const synced = performance.now();
  await execa('sync', data);
  times.theirsUnsynced.push(ended - begun);
  times.theirs.push(ended - begun + performance.now() - synced);
}

/** What both have restored is the same, so both have done the same work. */
async function requireSameDisks(ours: string, theirs: string): Promise<void> {
  const disksOf = async (folder: string): Promise<string[]> =>
    (await readdir(folder, { recursive: true })).filter((name) => /vd[ab].*\.(img|qcow2)$|disk.*\.qcow2$/.test(name)).sort();
  const [mine, others] = [await disksOf(ours), await disksOf(theirs)];
  if (mine.length !== TARGETS.length || others.length !== TARGETS.length) throw new Error(`restored were ${mine.join(', ')} and ${others.join(', ')}`);
  for (const [index, name] of mine.entries()) await execa('qemu-img', ['compare', join(ours, name), join(theirs, others[index] ?? '')]);
}

async function timeRestore(hub: BenchHub, backupId: string, target: string): Promise<number> {
  await mkdir(target);
  await settleDisks();
  const begun = performance.now();
  const request = { backup_id: backupId, target_path: target, format: 'qcow2' };
  const started = await hub.system.api<RestoreJobResponse>('POST', '/restore/disks', request);
  const look = async (): Promise<RestoreJobResponse> => (await hub.system.api<RestoreJobResponse>('GET', `/restore/jobs/${started.body.job_id}`)).body;
  const job = await until('the restore', async () => {
    const found = await look();
    return found.status === 'running' ? null : found;
  });
  const took = performance.now() - begun;
  if (job.status !== 'completed') throw new Error(`the restore ${job.status}: ${JSON.stringify(job.error)}`);
  await until('the restore to be cleaned up', async () => (await look()).cleaned_up);
  return took;
}

/** The same pieces in both twins, evenly spread, written by the running qemu as if by its guest. */
async function rewritePieces(host: LibvirtHost, sizeBytes: number, round: number): Promise<void> {
  const count = Math.floor((sizeBytes * SHARE) / GRAIN);
  const step = Math.floor(sizeBytes / GRAIN / count) * GRAIN;
  for (const domain of [OURS, THEIRS]) {
    const devices = await host.diskDevices(domain);
    const commands = TARGETS.flatMap((target, disk) =>
      Array.from({ length: count }, (_, index) => {
        const offset = index * step + ((round * 7 + disk) % (step / GRAIN)) * GRAIN;
        return `qemu-io -d ${devices.get(target) ?? ''} "write -q -P ${1 + ((index + round + disk) % 255)} ${offset} ${GRAIN}"`;
      }),
    );
    await host.monitorAll(domain, commands);
  }
}
