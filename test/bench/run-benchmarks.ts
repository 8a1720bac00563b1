import 'reflect-metadata';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { execa } from 'execa';
import { benchEmptyIncremental } from './empty-incremental.bench.js';
import { benchFullBackup } from './full-backup.bench.js';
import { benchHistory } from './history.bench.js';
import { benchHotPaths } from './hot-paths.bench.js';
import { benchIncrementalBackup } from './incremental-backup.bench.js';
import { benchLedger } from './ledger.bench.js';
import { benchLibvirt } from './libvirt.bench.js';
import { benchManyDisks } from './many-disks.bench.js';
import { type BenchOptions, describeMachine, loadAverage, markdownOf } from './measure.js';
import { benchPrice } from './price.bench.js';
import { benchProjectionLag } from './projection-lag.bench.js';
import { benchPruning } from './pruning.bench.js';
import { benchRestoreDisks } from './restore-disks.bench.js';
import { benchRestoreMounts } from './restore-mounts.bench.js';
import { benchRetention } from './retention.bench.js';
import { benchScheduler } from './scheduler.bench.js';
import { benchTimeTravel } from './time-travel.bench.js';
import { benchTunnel } from './tunnel.bench.js';
import { benchWhatIf } from './what-if.bench.js';

const ROOT = resolve(import.meta.dirname, '../..');
const REPORT = join(ROOT, 'docs/benchmarks.md');
/** Above it the figures say more about the neighbours. */
const QUIET_LOAD = 0.7;

interface Outcome {
  readonly markdown: string;
  readonly missed: number;
}

const benchmarks: Readonly<Record<string, (options: BenchOptions) => Promise<Outcome>>> = {
  'full-backup': async (options) => outcomeOf(benchFullBackup(options)),
  'incremental-backup': async (options) => outcomeOf(benchIncrementalBackup(options)),
  'empty-incremental': async (options) => outcomeOf(benchEmptyIncremental(options)),
  'many-disks': async (options) => outcomeOf(benchManyDisks(options)),
  'restore-disks': async (options) => outcomeOf(benchRestoreDisks(options)),
  pruning: async (options) => outcomeOf(benchPruning(options)),
  'projection-lag': async (options) => outcomeOf(benchProjectionLag(options)),
  'restore-mounts': async (options) => outcomeOf(benchRestoreMounts(options)),
  libvirt: async (options) => outcomeOf(benchLibvirt(options)),
  tunnel: async (options) => outcomeOf(benchTunnel(options)),
  'event-store': benchEventStore,
  'hot-paths': async (options) => outcomeOf(benchHotPaths(options)),
  history: async (options) => outcomeOf(benchHistory(options)),
  'time-travel': async (options) => outcomeOf(benchTimeTravel(options)),
  ledger: async (options) => outcomeOf(benchLedger(options)),
  price: async (options) => outcomeOf(benchPrice(options)),
  retention: async (options) => outcomeOf(benchRetention(options)),
  scheduler: async (options) => outcomeOf(benchScheduler(options)),
  'what-if': async (options) => outcomeOf(benchWhatIf(options)),
};
/** Writes a long history, or needs another build: only when it is asked for. */
const ON_REQUEST: ReadonlySet<string> = new Set(['history', 'time-travel', 'ledger', 'price', 'scheduler', 'what-if']);

const USAGE = `Usage: bin/bench [--smoke] [--write] [name...]

Measures Sendense side by side with the bare tools below it, and prints tables with ratios and targets.
Without a name everything but history, time-travel, ledger, price, scheduler and what-if is measured, which takes some ten minutes and 30 GiB of temporary space (TMPDIR).
history writes four million events and time-travel three million, or as many as --events says; each takes most of an hour and 15 GiB.
ledger writes one million, or as many as --events says, after some three minutes of appends.
what-if writes 12,000 backups of 1,000 VMs and simulates years of a policy, in some minutes.
scheduler has the backups of 10,000 VMs due at the same minute, in some minutes.
price measures full backups with another version's build (--before) and with this one, in turns, as root.
Nothing else should run on the machine meanwhile.

  --smoke   tiny sizes, to see that the programs work; the figures mean nothing
  --events N
            length of the history
  --before CHECKOUT
            of another version, which is built (bin/setup)
  --write   also write the result to docs/benchmarks.md

Names: ${Object.keys(benchmarks).join(', ')}
Ends with 1 when a target is missed.
`;

async function outcomeOf(running: ReturnType<typeof benchFullBackup>): Promise<Outcome> {
  const result = await running;
  return { markdown: markdownOf(result), missed: result.targets.filter(({ met }) => !met).length };
}

/** A program of its own, which prints a table of its own. */
async function benchEventStore({ smoke }: BenchOptions): Promise<Outcome> {
  const sizes = smoke ? ['1', '1'] : ['4', '5'];
  const { stdout } = await execa(process.execPath, [
    '--import',
    join(import.meta.dirname, 'typescript.mjs'),
    join(import.meta.dirname, 'event-store.bench.ts'),
    ...sizes,
  ]);
  return { markdown: `## Event store\n\n\`\`\`\n${stdout.trim()}\n\`\`\`\n`, missed: 0 };
}

async function main(): Promise<number> {
  let smoke: boolean;
  let write: boolean;
  let names: string[];
  let events: number | undefined;
  let before: string | undefined;
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        smoke: { type: 'boolean' },
        write: { type: 'boolean' },
        events: { type: 'string' },
        before: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help === true) {
      process.stdout.write(USAGE);
      return 0;
    }
    smoke = values.smoke === true;
    write = values.write === true;
    if (values.events !== undefined && !/^[1-9]\d{0,8}$/.test(values.events)) throw new Error('--events is a number of events, such as 4000000');
    events = values.events === undefined ? undefined : Number(values.events);
    before = values.before === undefined ? undefined : resolve(values.before);
    names = positionals.length > 0 ? positionals : Object.keys(benchmarks).filter((name) => !ON_REQUEST.has(name));
    const unknown = names.filter((name) => !(name in benchmarks));
    if (unknown.length > 0) throw new Error(`there is no benchmark ${unknown.join(', ')}`);
    if (smoke && write) throw new Error('figures of --smoke mean nothing and are not written down');
  } catch (error) {
    process.stderr.write(`bin/bench: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return 2;
  }

  const load = loadAverage();
  const machine = [...(await describeMachine()), `load average of the minute before: ${load.toFixed(2)}`];
  if (load > QUIET_LOAD)
    process.stderr.write(`The machine is busy (load average ${load.toFixed(2)}): what follows says as much about that as about Sendense.\n`);
  const parts = [
    `# Benchmarks\n`,
    `Measured by \`bin/bench\`${smoke ? ' --smoke: the figures mean nothing' : ''}.\n`,
    `${machine.map((line) => `- ${line}`).join('\n')}\n`,
  ];
  process.stdout.write(`${parts.join('\n')}\n`);
  let missed = 0;
  for (const name of names) {
    process.stderr.write(`measuring ${name} ...\n`);
    const outcome = await benchmarks[name]?.({ smoke, ...(events === undefined ? {} : { events }), ...(before === undefined ? {} : { before }) });
    if (outcome === undefined) continue;
    process.stdout.write(`${outcome.markdown}\n`);
    parts.push(outcome.markdown);
    missed += outcome.missed;
  }
  if (write) await writeFile(REPORT, parts.join('\n'));
  return missed === 0 ? 0 : 1;
}

process.exit(await main());
