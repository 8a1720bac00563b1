import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { decideRetention, type RetentionPoint } from './retention.plan.js';
import { instantOf } from './time-zone.plan.js';

const PAGE = join(import.meta.dirname, '..', '..', '..', '..', '..', 'docs', 'policies.md');
const ZONE = 'Europe/Berlin';
const DAY_MS = 86_400_000;

/** The table between the marks, as the page must have it. */
function exampleTable(): string {
  const [first, last] = ['2026-09-01T22:00:00.000Z', '2026-11-24T22:00:00.000Z'].map((wall) => Date.parse(wall));
  if (first === undefined || last === undefined) throw new Error('there are two');
  const points = Array.from({ length: (last - first) / DAY_MS + 1 }, (_, day): RetentionPoint => {
    const wall = first + day * DAY_MS;
    const text = new Date(wall).toISOString();
    return {
      backup_id: text.slice(0, 10),
      at: instantOf(wall, ZONE),
      good: text < '2026-11-16' || text > '2026-11-17',
      tiers: [],
      policy_version: 1,
      locked_until: null,
      protections: [],
    };
  });
  const retention = { keep_last: 3, keep_within: null, keep_daily: 7, keep_weekly: 4, keep_monthly: 12, keep_yearly: null, applies_to: 'all' as const };
  const kept = decideRetention(points, [{ version: 1, time_zone: ZONE, retention }], Date.parse('2026-11-25T00:00:00.000Z')).filter(
    ({ decision }) => decision === 'keep',
  );
  const rows = kept.map(
    ({ backup_id, reasons }) => `| ${backup_id} | ${reasons.map(({ rule, period }) => `\`${rule}\`${period === null ? '' : ` ${period}`}`).join(', ')} |`,
  );
  return ['| restore point of 22:00 on | kept for |', '|---|---|', ...rows].join('\n');
}

it('the worked example of the page is what the rules decide', () => {
  const [, table] = /<!-- retention example -->\n([\s\S]*?)\n<!-- end of retention example -->/.exec(readFileSync(PAGE, 'utf8')) ?? [];
  expect(table).toBe(exampleTable());
});
