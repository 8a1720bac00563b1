import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { enrolmentSettings, startTunnelServer } from '../support/enrolled-node.js';
import { HubSystem } from '../support/hub-system.js';
import { startOwnPostgres } from '../support/postgres.js';
import { fuzz, type FuzzReport } from './fuzz.js';
import { FuzzWorld } from './fuzz-world.js';

const USAGE = 'usage: bin/proof fuzz [--requests N] [--seed S] [--log FILE]';
const WORKERS = 6;

const { values } = parseArgs({ options: { requests: { type: 'string', default: '50000' }, seed: { type: 'string', default: '1' }, log: { type: 'string' } } });
const requests = Number(values.requests);
const seed = Number(values.seed);
if (!Number.isInteger(requests) || requests < 1 || !Number.isInteger(seed)) {
  process.stderr.write(`${USAGE}\n`);
  process.exit(2);
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** Refused tokens are slowed down for who guesses them, and here they are guessed all the time. */
const ENVIRONMENT = { SENDENSE_REFUSED_TOKEN_DELAY_MS: '0' };

async function run(): Promise<FuzzReport> {
  const postgres = await startOwnPostgres();
  try {
    const system = await HubSystem.create({
      databaseUrl: postgres.databaseUrl,
      portCount: 64,
      answersAreChecked: false,
      env: { ...ENVIRONMENT, ...(await enrolmentSettings()) },
    });
    try {
      await startTunnelServer(system);
      await system.start();
      const world = await FuzzWorld.around(system, postgres.databaseUrl);
      return await fuzz(world, { requests, seed, workers: WORKERS, say });
    } finally {
      if (values.log !== undefined) await writeFile(values.log, system.log());
      await system.destroy();
    }
  } finally {
    await postgres.remove();
  }
}

const began = performance.now();
const report = await run();
say(
  `\n${report.requests} requests with seed ${seed} in ${Math.round((performance.now() - began) / 1000)} s, the longest took ${report.longestMs} ms (${report.excused} late for want of a processor)`,
);
say(
  `answers: ${Object.entries(report.statuses)
    .map(([status, count]) => `${status} × ${count}`)
    .join(', ')}`,
);
say(`operations that never succeeded: ${report.neverSucceeded.join(', ') || 'none'}`);
say(`${report.failures.length} failures`);
for (const failure of report.failures) say(`FAIL ${failure}`);
process.exitCode = report.failures.length === 0 ? 0 : 1;
