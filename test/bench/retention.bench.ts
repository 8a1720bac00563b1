import { jitterSeconds } from '../../src/hub/backup/policies/model/start-window.plan.js';
import {
  decideRetention,
  expiringOf,
  RetentionCalendar,
  type RetentionPoint,
  type RetentionVersion,
} from '../../src/hub/backup/policies/model/retention.plan.js';
import { MIB } from './bench-hub.js';
import { atMost, type BenchOptions, type BenchResult, inSeconds, median } from './measure.js';

const LIMIT_MS = 5_000;
const LIMIT_BYTES = 500 * MIB;
const DAY_MS = 86_400_000;
const NEWEST = Date.parse('2026-11-24T21:00:00Z');
const RETENTION = { keep_last: 3, keep_within: null, keep_daily: 7, keep_weekly: 4, keep_monthly: 12, keep_yearly: null, applies_to: 'all' } as const;
const VERSIONS: readonly RetentionVersion[] = [{ version: 1, time_zone: 'Europe/Berlin', retention: RETENTION }];

const DECISIONS = {
  'with all reasons, as for an edit': (points: readonly RetentionPoint[], calendar: RetentionCalendar) =>
    decideRetention(points, VERSIONS, NEWEST, calendar).filter(({ decision }) => decision === 'expire').length,
  'what expires, as for a simulation': (points: readonly RetentionPoint[], calendar: RetentionCalendar) => expiringOf(points, VERSIONS, NEWEST, calendar).size,
} as const;

/** How long deciding about all restore points of many VMs takes. Processor time of this program; the database is not part of it. */
export async function benchRetention({ smoke }: BenchOptions): Promise<BenchResult> {
  const [vms, number, rounds] = smoke ? [50, 20, 1] : [10_000, 200, 5];
  const took = Object.values(DECISIONS).map((): number[] => []);
  const expired = new Set<number>();
  for (let round = 0; round < rounds; round++) {
    for (const [index, decide] of Object.values(DECISIONS).entries()) {
      const calendar = new RetentionCalendar();
      let [ms, expiring] = [0, 0];
      for (let vm = 0; vm < vms; vm++) {
        const points = pointsOf(`vm-${vm}`, number);
        const begun = process.cpuUsage();
        expiring += decide(points, calendar);
        const { user, system } = process.cpuUsage(begun);
        ms += (user + system) / 1000;
      }
      took[index]?.push(ms);
      expired.add(expiring);
    }
  }
  if (expired.size !== 1) throw new Error('the two ways to decide do not agree');
  const memory = process.resourceUsage().maxRSS * 1024;
  const [withReasons = []] = took;
  return Promise.resolve({
    title: 'Retention',
    notes: [
      `${vms} VMs with ${number} restore points each, one a day, one of them damaged; retention ${JSON.stringify(RETENTION)} in Europe/Berlin`,
      `processor time of ${rounds} rounds; the restore points are made VM by VM, as the hub reads them`,
    ],
    head: ['decision', 'median', 'slowest'],
    rows: Object.keys(DECISIONS).map((name, index) => [name, inSeconds(median(took[index] ?? [])), inSeconds(Math.max(...(took[index] ?? [])))]),
    targets: [
      atMost(`${vms} VMs with all reasons, median`, LIMIT_MS, median(withReasons), inSeconds),
      atMost('greatest memory of the program', LIMIT_BYTES, memory, (bytes) => `${Math.round(bytes / MIB)} MiB`),
    ],
  });
}

function pointsOf(vmId: string, number: number): readonly RetentionPoint[] {
  const newest = NEWEST - jitterSeconds('nightly', vmId, 3_600) * 1_000;
  return Array.from({ length: number }, (_, index): RetentionPoint => {
    const backup_id = `${vmId}/${index}`;
    const at = newest - (number - 1 - index) * DAY_MS;
    return { backup_id, at, good: index !== 10, tiers: [], policy_version: 1, locked_until: null, protections: [] };
  });
}
