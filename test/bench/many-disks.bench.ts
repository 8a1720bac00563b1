import { accessSync, constants } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import { HubSystem, until } from '../support/hub-system.js';
import { BenchHub, MIB } from './bench-hub.js';
import { atMost, type BenchOptions, type BenchResult, inMilliseconds, inSeconds, median, percentile } from './measure.js';

const PORTS = 101;
const HUB_MEMORY_LIMIT_MIB = 350;
const LIST_LIMIT_MS = 100;
const FURTHER_BACKUPS = 10;
const LIST_PAUSE_MS = 20;
const PATIENCE_MS = 600_000;

/** Every port of the pool in use at one moment, and more asked for. */
export async function benchManyDisks({ smoke }: BenchOptions): Promise<BenchResult> {
  const ports = smoke ? 12 : PORTS;
  const sizes = vmSizes(ports);
  // Copies wait until this file is there, so that every export is open at once.
  const gate = await CopyGate.create();
  const hub = await BenchHub.start({ portCount: ports, env: { PATH: gate.path, SENDENSE_MAX_CONCURRENT_BACKUPS: '1000' } });
  try {
    const disk = { sizeBytes: 64 * MIB, dataBytes: 8 * MIB };
    for (const [index, disks] of sizes.entries()) await hub.addVm(`vm-${index}`, disks, disk);
    for (let index = 0; index < FURTHER_BACKUPS; index++) await hub.addVm(`late-${index}`, 1 + (index % 5), disk);

    const idleMemory = await memoryOf(hub.system, 'VmRSS');
    const listing = new ListingProbe(hub.system);
    const begun = performance.now();
    const ids = (await Promise.all(sizes.map((_, index) => hub.request(`vm-${index}`, 'full')))).map(({ backup_id }) => backup_id);
    const allServing = `all ${ports} ports in use`;
    const peak = await until(allServing, async () => ((await usedPorts(hub.system)) === ports ? ports : null), PATIENCE_MS);
    const servingMs = performance.now() - begun;
    for (let index = 0; index < FURTHER_BACKUPS; index++) ids.push((await hub.request(`late-${index}`, 'full')).backup_id);
    const waiting = statusesOf(ids, await listBackups(hub.system));
    const queued = waiting.filter((status) => status === 'pending').length;

    await gate.open();
    const opened = performance.now();
    const ended = await until(
      'all backups to end',
      () => {
        // What the probe hears is enough: to ask for each backup as well would be most of the load that it measures under.
        const all = statusesOf(ids, listing.newest);
        return Promise.resolve(all.every((status) => status !== 'pending' && status !== 'running') ? all : null);
      },
      PATIENCE_MS,
    );
    const copiedMs = performance.now() - opened;
    await until('everything to be given back', async () => (await held(hub.system)) === 'nothing', 60_000).catch(() => undefined);
    const latencies = await listing.stop();
    const peakMemory = await memoryOf(hub.system, 'VmHWM');
    const completed = ended.filter((status) => status === 'completed').length;
    const left = await held(hub.system);

    return {
      title: `${ports} disks at once`,
      notes: [
        `${sizes.length} VMs with 1 to 5 disks of 64 MiB (8 MiB of data each), ${ports} disks in all, backed up at once; copies are held back until every port serves its disk`,
        `then ${FURTHER_BACKUPS} more backups are asked for, and the copies are let go; meanwhile GET /backups is asked again ${LIST_PAUSE_MS} ms after each answer`,
        'memory is that of the hub process: resident, at its highest',
      ],
      head: ['', ''],
      rows: [
        ['ports in use at once', String(peak)],
        ['from the first request until all serve', inSeconds(servingMs)],
        ['from letting go until the last backup has ended', inSeconds(copiedMs)],
        ['backups completed', `${completed} of ${ids.length}`],
        ['further backups that had to wait', `${queued} of ${FURTHER_BACKUPS}`],
        ['left over in the end (ports, exports, processes)', left],
        ['hub memory idle / highest', `${Math.round(idleMemory / MIB)} MiB / ${Math.round(peakMemory / MIB)} MiB`],
        [
          'GET /backups, median / 99th percentile / slowest',
          [median(latencies), percentile(latencies, 99), percentile(latencies, 100)].map(inMilliseconds).join(' / '),
        ],
        ['GET /backups, answers', String(latencies.length)],
      ],
      targets: [
        { what: 'all complete', limit: String(ids.length), measured: String(completed), met: completed === ids.length },
        { what: 'none leaks', limit: 'nothing', measured: left, met: left === 'nothing' },
        { what: 'further backups queue', limit: String(FURTHER_BACKUPS), measured: String(queued), met: queued === FURTHER_BACKUPS },
        atMost('hub memory, highest', HUB_MEMORY_LIMIT_MIB, peakMemory / MIB, (mib) => `${Math.round(mib)} MiB`),
        atMost('GET /backups, 99th percentile', LIST_LIMIT_MS, percentile(latencies, 99), inMilliseconds),
      ],
    };
  } finally {
    await gate.open();
    await hub.system.destroy();
    await gate.remove();
  }
}

/** 1 to 5 disks a VM, `total` in all. */
function vmSizes(total: number): readonly number[] {
  const sizes: number[] = [];
  for (let left = total; left > 0; left -= sizes.at(-1) ?? left) sizes.push(Math.min(left, 1 + (sizes.length % 5)));
  return sizes;
}

async function usedPorts(system: HubSystem): Promise<number> {
  const { body } = await system.api<{ processes: { state: string }[] }>('GET', '/nbd/processes');
  return body.processes.filter(({ state }) => state === 'running').length;
}

async function listBackups(system: HubSystem): Promise<readonly BackupResponse[]> {
  const { status, body } = await system.api<{ backups: readonly BackupResponse[] }>('GET', '/backups');
  if (status !== 200) throw new Error(`GET /backups answered ${status}`);
  return body.backups;
}

/** One that is not in the list yet is pending. */
function statusesOf(ids: readonly string[], listed: readonly BackupResponse[]): readonly string[] {
  const statuses = new Map(listed.map(({ backup_id, status }) => [backup_id, status]));
  return ids.map((id) => statuses.get(id) ?? 'pending');
}

async function held(system: HubSystem): Promise<string> {
  const [ports, processes, tools] = await Promise.all([
    system.api<{ ports: unknown[] }>('GET', '/nbd/ports?state=allocated&limit=1000'),
    system.api<{ processes: unknown[] }>('GET', '/nbd/processes'),
    system.toolProcesses(),
  ]);
  const counts = [`${ports.body.ports.length} ports`, `${processes.body.processes.length} exports`, `${tools.length} processes`].filter(
    (one) => !one.startsWith('0 '),
  );
  return counts.length === 0 ? 'nothing' : counts.join(', ');
}

/** Bytes, by a field of /proc/<pid>/status. */
async function memoryOf(system: HubSystem, field: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile(`/proc/${system.hubPid ?? 0}/status`, 'utf8');
  const kib = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1];
  if (kib === undefined) throw new Error('the hub does not run');
  return Number(kib) * 1024;
}

/** Asks for the list of backups again and again. */
class ListingProbe {
  /** The last answer. */
  newest: readonly BackupResponse[] = [];
  private readonly latencies: number[] = [];
  private stopping = false;
  private readonly loop: Promise<void>;

  constructor(private readonly system: HubSystem) {
    this.loop = this.ask();
    // Of its failure hears who stops it; what failed before is the cause that should be told.
    this.loop.catch(() => undefined);
  }

  async stop(): Promise<readonly number[]> {
    this.stopping = true;
    await this.loop;
    return this.latencies;
  }

  private async ask(): Promise<void> {
    while (!this.stopping) {
      const begun = performance.now();
      this.newest = await listBackups(this.system);
      this.latencies.push(performance.now() - begun);
      await pause(LIST_PAUSE_MS);
    }
  }
}

/** A PATH in which the tools that copy disks wait for a file before they become the real ones. */
class CopyGate {
  private constructor(private readonly directory: string) {}

  static async create(): Promise<CopyGate> {
    const directory = await mkdtemp(join(tmpdir(), 'sendense-gate-'));
    await mkdir(join(directory, 'bin'));
    for (const [tool, copies] of [
      ['nbdcopy', '*'],
      ['qemu-img', "'convert -p '*"],
    ] as const) {
      const real = (process.env['PATH'] ?? '')
        .split(delimiter)
        .map((folder) => join(folder, tool))
        .find(isExecutable);
      if (real === undefined) throw new Error(`${tool} is not on PATH`);
      const script = join(directory, 'bin', tool);
      const wait = `case "$*" in ${copies}) while [ ! -e '${directory}/open' ]; do sleep 0.1; done ;; esac`;
      await writeFile(script, `#!/bin/sh\n${wait}\nexec '${real}' "$@"\n`);
      await chmod(script, 0o755);
    }
    return new CopyGate(directory);
  }

  get path(): string {
    return `${join(this.directory, 'bin')}${delimiter}${process.env['PATH'] ?? ''}`;
  }

  async open(): Promise<void> {
    await writeFile(join(this.directory, 'open'), '');
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true });
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
