import { BenchHub, MIB } from './bench-hub.js';
import { EVENTS_OF_A_BACKUP, fill, get, headOf, projectionsOf, rebuild, restart, SEED, VMS } from './long-hub.js';
import { type BenchOptions, type BenchResult, inMilliseconds, loadAverage, median, ratio, type Target } from './measure.js';

const LIMIT = 1.5;
const EVENTS = 4_000_000;
/** Backups of each VM in the short history: enough to fill every page that is asked for. */
const SHORT_ROUNDS = 10;
/** A ratio above the limit is measured again up to so many times; all measurements count. */
const REPEATS = 4;

/** In both histories: soon after the beginning. A page of each list has as many entries in the one as in the other. */
const EARLY = '2025-01-01T02:00:00Z';
const READS: readonly string[] = [
  '/health/ready',
  '/metrics',
  '/vms',
  '/nodes',
  '/repositories',
  '/backups',
  '/backups?status=failed&limit=25',
  '/backups?status=running',
  '/backups?backup_type=full',
  '/backups?backup_type=auto',
  '/backups?vm_name=vm-0100&limit=10',
  `/backups?until=${EARLY}`,
  '/backups/changeid?vm_name=vm-0100&disk_id=0',
  '/nbd/ports',
  '/nbd/ports/metrics',
  '/restore/jobs',
  '/restore/mounts',
  '/restore/exports',
  '/projections',
  '/audit/events',
  '/audit/events?type=VmRegistered',
  '/audit/events?type=BackupCompleted&actor=api:nobody',
  '/audit/events?category=backup&actor=api:token',
  `/audit/events?until=${EARLY}`,
  `/audit/events?category=vm&until=${EARLY}`,
];

interface Compared {
  readonly what: string;
  readonly entries: string;
  readonly short: number;
  readonly long: number;
}

/** What a hub with a long history costs, against one with the same VMs and a few backups of each; both run at once, and are asked in turn. */
export async function benchHistory({ smoke, events: wanted = EVENTS }: BenchOptions): Promise<BenchResult> {
  const [asked, backups, starts] = smoke ? [5, 2, 1] : [100, 15, 5];
  const rounds = smoke ? 12 : Math.max(SHORT_ROUNDS + 1, Math.round(wanted / (VMS * EVENTS_OF_A_BACKUP)));
  const env = { SENDENSE_CHAIN_MAX_LENGTH: '1000' };
  const short = await BenchHub.start({ env });
  try {
    const long = await BenchHub.start({ env });
    try {
      const loadBefore = loadAverage();
      await fill(short, SHORT_ROUNDS);
      const figures = await fill(long, rounds);
      const projections = await projectionsOf(long);
      const events = headOf(projections[0]?.head_position);
      const compared: Compared[] = [];
      const bothStarts = await inTurn(starts, [() => restart(short), () => restart(long)]);
      compared.push({ what: 'start of the hub, until it is ready', entries: '', short: median(bothStarts[0]), long: median(bothStarts[1]) });
      for (const hub of [short, long]) {
        await hub.addVm('bench', 2, { sizeBytes: 256 * MIB, dataBytes: 8 * MIB });
        await hub.backUp('bench', 'full');
        await hub.backUp('bench', 'incremental');
      }
      const answered: [number[], number[]] = [[], []];
      const completed = await inTurn(
        backups,
        [short, long].map((hub, index) => async () => {
          const { answeredMs, completedMs } = await hub.backUp('bench', 'incremental');
          answered[index]?.push(answeredMs);
          return completedMs;
        }),
      );
      compared.push({ what: 'POST /backups of an incremental, until it is answered', entries: '', short: median(answered[0]), long: median(answered[1]) });
      compared.push({ what: 'an empty incremental, until it is completed', entries: '', short: median(completed[0]), long: median(completed[1]) });
      for (const path of READS) compared.push(await compare(path, short, long, asked));
      for (const one of compared) process.stderr.write(`${one.what}: ${inMilliseconds(one.short)}, ${inMilliseconds(one.long)}\n`);
      const rebuilt: string[] = [];
      for (const { name } of projections) rebuilt.push(`${name} ${(await rebuild(long, name, events)).text}`);
      return {
        title: 'A long history',
        notes: [
          `${VMS} VMs; ${SHORT_ROUNDS} backups of each in the short history, ${rounds} in the long one: ${events} events (seed ${SEED}), written through the store's append at ${Math.round(figures.generatedPerSecond)} events a second`,
          `the short history fills every page that is asked for, so that a page of as many entries is compared; a page of fewer costs less however short the history is`,
          `all read models, at once and from nothing: ${figures.caughtUp.text}`,
          `rebuilt one at a time (events of the store a second; processor time of hub and PostgreSQL): ${rebuilt.join('; ')}`,
          `both hubs run at once and are asked in turn, so that other work on the machine meets both: median of ${asked} requests (up to ${REPEATS * asked} where that was over the limit), ${backups} backups, ${starts} starts`,
          `load average of the minute before and at the end: ${loadBefore.toFixed(1)}, ${loadAverage().toFixed(1)}`,
        ],
        head: ['', 'entries', 'short', 'long', 'ratio'],
        rows: compared.map(({ what, entries, ...times }) => [
          what,
          entries,
          inMilliseconds(times.short),
          inMilliseconds(times.long),
          ratio(times.long / times.short),
        ]),
        targets: [worst(compared)],
      };
    } finally {
      await long.system.destroy();
    }
  } finally {
    await short.system.destroy();
  }
}

function worst(compared: readonly Compared[]): Target {
  const missed = compared.filter(({ short, long }) => long / short > LIMIT);
  return {
    what: 'what a long history costs, each of the above',
    limit: `at most ${ratio(LIMIT)}`,
    measured:
      missed.length === 0 ? ratio(Math.max(...compared.map(({ short, long }) => long / short))) : `over it: ${missed.map(({ what }) => what).join('; ')}`,
    met: missed.length === 0,
  };
}

async function compare(path: string, short: BenchHub, long: BenchHub, asked: number): Promise<Compared> {
  const entries = new Set<number | null>();
  const ask = (hub: BenchHub) => async (): Promise<number> => {
    const answer = await get(hub, path);
    entries.add(answer.entries);
    return answer.tookMs;
  };
  const times: [number[], number[]] = [[], []];
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    const [ofShort, ofLong] = await inTurn(asked, [ask(short), ask(long)]);
    times[0].push(...ofShort);
    times[1].push(...ofLong);
    if (median(times[1]) / median(times[0]) <= LIMIT) break;
  }
  if (entries.size !== 1) throw new Error(`GET ${path} has different numbers of entries: ${[...entries].join(', ')}`);
  return { what: `GET ${path}`, entries: [...entries].join(''), short: median(times[0]), long: median(times[1]) };
}

/** Each of two in turn, in changing order, so many times; once before that is not counted. */
async function inTurn(rounds: number, both: readonly (() => Promise<number>)[]): Promise<readonly [readonly number[], readonly number[]]> {
  const times: [number[], number[]] = [[], []];
  for (let round = -1; round < rounds; round++) {
    for (const index of round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
      const took = (await both[index]?.()) ?? Number.NaN;
      if (round >= 0) times[index].push(took);
    }
  }
  return times;
}
