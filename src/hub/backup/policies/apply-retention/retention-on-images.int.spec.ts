import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, jest } from '@jest/globals';
import { IS_LONG, times } from '../../../../../test/support/long-proof.js';
import { requireTools } from '../../../../../test/support/require-tools.js';
import { RetainedHistory } from '../../../../../test/support/retained-history.js';

jest.setTimeout(times(120_000, 3_600_000));
const run = promisify(execFile);
const { describe, it } = requireTools('qemu-img', 'qemu-io');

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'sendense-retention-'));
});
afterEach(async () => {
  await run('chmod', ['-R', 'u+rwX', root]);
  await rm(root, { recursive: true, force: true });
});

const RUNS = times(20, 400);
const RUNS_BETWEEN_CHECKS = times(10, 20);
const COMMON = { keep_last: 3, keep_within: null, keep_yearly: 1, applies_to: 'all' } as const;

/** In the long proof some 60 restore points are kept in one chain, from before both changes of the clocks until after a leap day. In both, a year turns. */
const HISTORY = IS_LONG
  ? { since: '2027-02-20T00:00:00.000Z', retention: { ...COMMON, keep_daily: 40, keep_weekly: 20, keep_monthly: 10 } }
  : { since: '2027-12-15T00:00:00.000Z', retention: { ...COMMON, keep_daily: 5, keep_weekly: 2, keep_monthly: 1 } };

describe(`a retention that is applied for ${RUNS} days`, () => {
  it('keeps what its rules keep, each restore point with the disks of its day, and nothing else', async () => {
    const history = await RetainedHistory.create(root, {
      ...HISTORY,
      timeZone: 'Europe/Berlin',
      schedule: 'daily at 22:00',
      diskMib: 4,
      seed: 400,
      sharesBlocks: false,
    });
    const begun = performance.now();
    for (let count = 1; count <= RUNS; count++) {
      await history.run();
      if (count % RUNS_BETWEEN_CHECKS !== 0 && count !== RUNS) continue;
      expect(await history.defects()).toEqual([]);
      if (IS_LONG) tell(`after ${count} days`);
    }
    const { absorbed, flattened, removed } = history.figures;
    expect([absorbed > 0, flattened > 0, removed > 0]).toEqual([true, true, true]);

    function tell(what: string): void {
      const seconds = Math.round((performance.now() - begun) / 1000);
      process.stderr.write(`retention: ${what}: ${JSON.stringify({ points: history.points, ...history.figures, seconds })}\n`);
    }
  });
});
