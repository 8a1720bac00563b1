import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { WhatIfResponse } from '../../src/hub/backup/policies/what-if/what-if.dto.js';
import { BenchHub, MIB } from './bench-hub.js';
import { fill, get, SEED } from './long-hub.js';
import { atMost, type BenchOptions, type BenchResult, inMilliseconds, inSeconds, loadAverage, median, percentile } from './measure.js';

const YEAR_OF_1000_VMS_MS = 10_000;
const OTHERS_MS = 250;
/** Backups of each VM before. */
const ROUNDS = 12;
const KEPT = { keep_last: 3, keep_daily: 7, keep_weekly: 4, keep_monthly: 12 };

/** How long a year of a policy takes to simulate, and how long others wait for the hub meanwhile. */
export async function benchWhatIf({ smoke }: BenchOptions): Promise<BenchResult> {
  const [vms, rounds, times] = smoke ? [20, 3, 1] : [1_000, ROUNDS, 3];
  const hub = await BenchHub.start();
  try {
    await fill(hub, rounds, vms);
    const { repositories } = (await hub.system.api<{ repositories: readonly { repository_id: string }[] }>('GET', '/repositories')).body;
    const { policy_id } = await hub.post<{ policy_id: string }>('/policies', {
      name: 'nightly',
      enabled: false,
      time_zone: 'Europe/Berlin',
      schedule: 'daily at 22:00',
      include: [{ by: 'name', value: '*' }],
      repository_id: repositories[0]?.repository_id ?? '',
      spread_seconds: 3_600,
      start_window: { from: '21:00', until: '06:00', days: [] },
      rpo_seconds: 90_000,
      retention: KEPT,
    });
    const { policy } = await enabledIn(hub, policy_id);
    const loadBefore = loadAverage();
    const rows = [];
    const waits: number[] = [];
    for (const horizon of ['365d', '1096d']) {
      const took: number[] = [];
      for (let time = 0; time < times; time++) {
        const simulated = simulate(hub, policy_id, { horizon, settings: policy });
        if (horizon === '365d') waits.push(...(await othersUntil(hub, simulated)));
        const { tookMs, answer } = await simulated;
        if (answer.forward.greatest.points < vms) throw new Error('the simulation made no restore points');
        took.push(tookMs);
      }
      rows.push({ horizon, took, memory: residentMib(hub) });
    }
    const year = rows[0];
    return {
      title: 'What if',
      notes: [
        `${vms} VMs with ${rounds} backups each (seed ${SEED}), one backup a day with a spread and a start window, retention ${JSON.stringify(KEPT)}`,
        `POST /policies/{id}/simulate, ${times} times; meanwhile GET /nodes, one after the other`,
        `load average of the minute before and at the end: ${loadBefore.toFixed(1)}, ${loadAverage().toFixed(1)}`,
      ],
      head: ['horizon', 'median', 'slowest', 'memory of the hub afterwards'],
      rows: rows.map(({ horizon, took, memory }) => [horizon, inSeconds(median(took)), inSeconds(Math.max(...took)), `${memory} MiB`]),
      targets: [
        atMost(`a year of ${vms} VMs, median`, YEAR_OF_1000_VMS_MS, median(year?.took ?? []), inSeconds),
        atMost('GET /nodes meanwhile, p99', OTHERS_MS, percentile(waits, 99), inMilliseconds),
      ],
    };
  } finally {
    await hub.system.destroy();
  }
}

/** Its settings, enabled: the policy itself stays disabled, so that it backs up nothing meanwhile. */
async function enabledIn(hub: BenchHub, policyId: string): Promise<{ readonly policy: object }> {
  const { body } = await hub.system.api<Record<string, unknown>>('GET', `/policies/${policyId}`);
  const { policy_id: _id, version: _version, created_at: _created, edited_at: _edited, position: _position, ...settings } = body;
  return { policy: { ...settings, enabled: true } };
}

async function simulate(hub: BenchHub, policyId: string, request: object): Promise<{ readonly tookMs: number; readonly answer: WhatIfResponse }> {
  const begun = performance.now();
  const answer = await hub.post<WhatIfResponse>(`/policies/${policyId}/simulate`, request);
  return { tookMs: performance.now() - begun, answer };
}

async function othersUntil(hub: BenchHub, done: Promise<unknown>): Promise<readonly number[]> {
  const waits: number[] = [];
  let over = false;
  const end = done.finally(() => (over = true));
  while (!over) {
    waits.push((await get(hub, '/nodes')).tookMs);
    await pause(20);
  }
  await end;
  return waits;
}

function residentMib(hub: BenchHub): number {
  const pages = Number(readFileSync(join('/proc', String(hub.system.hubPid ?? 0), 'statm'), 'utf8').split(' ')[1]);
  return Math.round((pages * 4096) / MIB);
}
