import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { OccurrenceResponse } from '../../src/hub/backup/policies/model/occurrence.response.js';
import { until } from '../support/hub-system.js';
import { BenchHub, MIB, makeDisk } from './bench-hub.js';
import { fill, get, SEED } from './long-hub.js';
import { atMost, type BenchOptions, type BenchResult, inMilliseconds, inSeconds, loadAverage, median, percentile } from './measure.js';

const OTHERS_MS = 100;
const AT_ONCE = 8;
/** How long backups are made and others wait, after all have been queued. */
const AFTERWARDS_MS = 120_000;
const PATIENCE_MS = 1_800_000;
/** Before the minute, so that the policy is there in time. */
const AHEAD_MS = 20_000;
const MINUTE_MS = 60_000;
const PAUSE_MS = 50;
const LOOK_MS = 5_000;
const PAGE = 500;

interface Backup {
  readonly backup_id: string;
  readonly status: string;
  readonly created_at: string;
  readonly started_at: string | null;
}

/** How long others wait for the hub while the backups of thousands of VMs are due at the same minute, and whether the queue keeps its order and its limit. */
export async function benchScheduler({ smoke }: BenchOptions): Promise<BenchResult> {
  const [vms, afterwardsMs] = smoke ? [20, 5_000] : [10_000, AFTERWARDS_MS];
  const hub = await BenchHub.start({ env: { SENDENSE_MAX_CONCURRENT_BACKUPS: String(AT_ONCE) } });
  try {
    await makeImages(hub, vms);
    await fill(hub, 0, vms);
    const loadBefore = loadAverage();
    const { policyId, due } = await duePolicy(hub);
    const [queueing, running]: [number[], number[]] = [[], []];
    let waits = queueing;
    let mostRunning = 0;
    let over = false;
    const others = (async () => {
      await pause(due - Date.now());
      while (!over) {
        for (const path of ['/backups?limit=50', '/nodes']) waits.push((await get(hub, path)).tookMs);
        mostRunning = Math.max(mostRunning, (await list(hub, `/backups?status=running&limit=${PAGE}`)).backups.length);
        await pause(PAUSE_MS);
      }
    })();
    const run = await until('the run', async () => (await runsOf(hub, policyId))[0], PATIENCE_MS);
    // The answer of a run of 10,000 VMs takes the hub long enough to be felt by others.
    while ((await runsOf(hub, policyId))[0]?.vms.some(({ status }) => status === 'planned') === true) await pause(LOOK_MS);
    waits = running;
    await pause(afterwardsMs);
    over = true;
    await others;
    const backups = await all(hub);
    const completed = backups.filter(({ status }) => status === 'completed').length;
    if (backups.length !== vms || completed === 0)
      throw new Error(`the run requested ${backups.length} backups of ${vms} VMs, of which ${completed} completed`);
    const queuedMs = Math.max(...backups.map(({ created_at }) => Date.parse(created_at))) - due;
    return {
      title: 'Ten thousand VMs due at the same minute',
      notes: [
        `${vms} VMs of one policy (seed ${SEED}), each with one or two disks of 1 MiB, without a spread; at most ${AT_ONCE} backups at once`,
        `GET /backups?limit=50 and GET /nodes, one after the other, while the backups are requested and for ${inSeconds(afterwardsMs)} afterwards`,
        `the run began ${inSeconds(Date.parse(run.recorded_at) - due)} after the minute; all backups were queued ${inSeconds(queuedMs)} after it`,
        `${completed} backups had completed at the end`,
        `load average of the minute before and at the end: ${loadBefore.toFixed(1)}, ${loadAverage().toFixed(1)}`,
      ],
      head: ['others', 'median', '99th percentile', 'slowest'],
      rows: [
        ['while backups are requested', ...spread(queueing)],
        ['afterwards', ...spread(running)],
      ],
      targets: [
        atMost('others, 99th percentile', OTHERS_MS, percentile([...queueing, ...running], 99), inMilliseconds),
        atMost('backups at once', AT_ONCE, mostRunning, String),
        atMost('places that a backup started before its turn', AT_ONCE, overtaking(backups), String),
      ],
    };
  } finally {
    await hub.system.destroy();
  }
}

async function makeImages(hub: BenchHub, vms: number): Promise<void> {
  const first = join(hub.system.directory, 'first.qcow2');
  await makeDisk(first, MIB, MIB / 16);
  for (let vm = 0; vm < vms; vm++) {
    const folder = join(hub.system.imageRoot, `vm-${String(vm).padStart(4, '0')}`);
    await mkdir(folder);
    for (let disk = 0; disk <= vm % 2; disk++) await copyFile(first, join(folder, `disk${disk}.qcow2`));
  }
}

async function duePolicy(hub: BenchHub): Promise<{ readonly policyId: string; readonly due: number }> {
  const { repositories } = (await hub.system.api<{ repositories: readonly { repository_id: string }[] }>('GET', '/repositories')).body;
  const due = Math.ceil((Date.now() + AHEAD_MS) / MINUTE_MS) * MINUTE_MS;
  const at = new Date(due);
  const { policy_id } = await hub.post<{ policy_id: string }>('/policies', {
    name: 'all',
    time_zone: 'UTC',
    schedule: `${at.getUTCMinutes()} ${at.getUTCHours()} * * *`,
    include: [{ by: 'name', value: '*' }],
    repository_id: repositories[0]?.repository_id ?? '',
  });
  return { policyId: policy_id, due };
}

async function runsOf(hub: BenchHub, policyId: string): Promise<readonly OccurrenceResponse[]> {
  return (await hub.system.api<{ occurrences: readonly OccurrenceResponse[] }>('GET', `/policies/${policyId}/occurrences`)).body.occurrences;
}

async function list(hub: BenchHub, path: string): Promise<{ readonly backups: readonly Backup[]; readonly next_cursor: string | null }> {
  return (await hub.system.api<{ backups: readonly Backup[]; next_cursor: string | null }>('GET', path)).body;
}

async function all(hub: BenchHub): Promise<readonly Backup[]> {
  const backups: Backup[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const page = await list(hub, `/backups?limit=${PAGE}${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`);
    backups.push(...page.backups);
    cursor = page.next_cursor;
  }
  return backups;
}

/** How many places at most a backup started before its turn: those at once may start in any order. */
function overtaking(backups: readonly Backup[]): number {
  const requested = backups.toSorted((a, b) => a.created_at.localeCompare(b.created_at));
  const turn = new Map(requested.map(({ backup_id }, index) => [backup_id, index]));
  const started = backups.filter(({ started_at }) => started_at !== null).toSorted((a, b) => (a.started_at ?? '').localeCompare(b.started_at ?? ''));
  return Math.max(0, ...started.map(({ backup_id }, index) => (turn.get(backup_id) ?? 0) - index));
}

function spread(waits: readonly number[]): readonly string[] {
  return [inMilliseconds(median(waits)), inMilliseconds(percentile(waits, 99)), inMilliseconds(Math.max(...waits))];
}
