import { join } from 'node:path';
import pg from 'pg';
import { LocalPostgres } from '../../src/hub/store/postgres/local-postgres.js';
import { BenchHub } from './bench-hub.js';
import { EVENTS_OF_A_BACKUP, fill, get, headOf, projectionsOf, rebuild, restart, SEED, VMS } from './long-hub.js';
import { atMost, type BenchOptions, type BenchResult, inMilliseconds, inSeconds, loadAverage, median, percentile, ratio, type Target } from './measure.js';
import { EVENTS_PER_SECOND, measureLag } from './projection-lag.bench.js';

const EVENTS = 3_000_000;
const LIVE_P99_MS = 50;
const AS_OF_P99_MS = 100;
const AS_OF_RATIO = 2;
const SPACE_RATIO = 1.5;
const START_MS = 5_000;
const LAG_P99_MS = 50;
const REBUILDS: Readonly<Record<string, number>> = { audit_events: 50_000, backups: 30_000 };
/** Where in the history a request looks back to. */
const INSTANTS: readonly (readonly [name: string, share: number])[] = [
  ['middle', 0.5],
  ['shortly before the end', 0.99],
];
const LISTS: readonly string[] = [
  '/vms',
  '/nodes',
  '/repositories',
  '/backups',
  '/backups?status=failed&limit=25',
  '/backups?status=running',
  '/backups?backup_type=full',
  '/backups?vm_name=vm-0100&limit=10',
  '/nbd/ports',
  '/restore/jobs',
  '/restore/mounts',
  '/restore/exports',
  '/audit/events',
  '/audit/events?type=BackupCompleted',
  '/audit/events?category=backup&actor=api:token',
];

interface Asked {
  readonly list: string;
  readonly instant: string;
  readonly live: readonly number[];
  readonly asOf: readonly number[];
}

/** What the versions of a long history cost: lists of the present and of the past, space, rebuilds, a start, and the lag behind new events. */
export async function benchTimeTravel({ smoke, events: wanted = EVENTS }: BenchOptions): Promise<BenchResult> {
  const hub = await BenchHub.start({ env: { SENDENSE_CHAIN_MAX_LENGTH: '1000' } });
  try {
    const rounds = smoke ? 12 : Math.max(1, Math.round(wanted / (VMS * EVENTS_OF_A_BACKUP)));
    const figures = await fill(hub, rounds);
    return await measureTimeTravel(hub, smoke, [
      `written through the store's append at ${Math.round(figures.generatedPerSecond)} events a second; all read models at once: ${figures.caughtUp.text}`,
    ]);
  } finally {
    await hub.system.destroy();
  }
}

/** Of a hub whose read models stand at the end of a history. Ends the hub. */
export async function measureTimeTravel(hub: BenchHub, smoke: boolean, notes: readonly string[]): Promise<BenchResult> {
  const [requests, starts, lagSeconds] = smoke ? [5, 1, 3] : [100, 3, 30];
  const loadBefore = loadAverage();
  const events = headOf((await projectionsOf(hub))[0]?.head_position);
  const asked: Asked[] = [];
  for (const list of LISTS) for (const [name, share] of INSTANTS) asked.push(await ask(hub, list, name, Math.floor(events * share), requests));
  const started: number[] = [];
  for (let start = 0; start < starts; start++) started.push(await restart(hub));
  const rebuilt: Target[] = [];
  for (const [name, least] of Object.entries(REBUILDS)) {
    const { perSecond, text } = await rebuild(hub, name, events);
    rebuilt.push({ what: `rebuild of ${name}, events a second`, limit: `at least ${least}`, measured: text, met: perSecond >= least });
  }
  await hub.system.kill('SIGTERM');
  const server = new LocalPostgres(join(hub.system.dataDirectory, 'postgres'), { log: () => undefined, warn: () => undefined });
  const { ownerUrl } = await server.ensureStarted();
  try {
    const space = await spaceIn(ownerUrl);
    const { lags, achieved } = await measureLag(ownerUrl, lagSeconds);
    return {
      title: 'Time travel',
      notes: [
        `${VMS} VMs, ${events} events (seed ${SEED})`,
        ...notes,
        `each list live and as of an instant, in turn, ${requests} requests each, one at a time; median and 99th percentile`,
        `the store takes ${space.perEvent} bytes an event, indexes included; read models (with versions / without): ${space.each.join('; ')}`,
        `lag: ${Math.round(achieved)} events a second were reached in ${lagSeconds} s, all by the process that folds them`,
        `load average of the minute before and at the end: ${loadBefore.toFixed(1)}, ${loadAverage().toFixed(1)}`,
      ],
      head: ['', 'as of', 'live', 'live p99', 'as of', 'as of p99', 'ratio of medians'],
      rows: asked.map(({ list, instant, live, asOf }) => [
        `GET ${list}`,
        instant,
        inMilliseconds(median(live)),
        inMilliseconds(percentile(live, 99)),
        inMilliseconds(median(asOf)),
        inMilliseconds(percentile(asOf, 99)),
        ratio(median(asOf) / median(live)),
      ]),
      targets: [
        worst('list of the present, p99', asked, LIVE_P99_MS, ({ live }) => percentile(live, 99), inMilliseconds),
        worst('list of the past, p99', asked, AS_OF_P99_MS, ({ asOf }) => percentile(asOf, 99), inMilliseconds),
        worst('past / present, medians', asked, AS_OF_RATIO, ({ live, asOf }) => median(asOf) / median(live), ratio),
        atMost('space of all read models, with versions / without', SPACE_RATIO, space.ratio, ratio),
        ...rebuilt,
        atMost('start of the hub until it is ready, median', START_MS, median(started), inSeconds),
        atMost(`lag at ${EVENTS_PER_SECOND} events a second, p99`, LAG_P99_MS, percentile(lags, 99), inMilliseconds),
      ],
    };
  } finally {
    await server.stop();
  }
}

async function ask(hub: BenchHub, list: string, instant: string, position: number, requests: number): Promise<Asked> {
  const past = `${list}${list.includes('?') ? '&' : '?'}as_of=${String(position).padStart(19, '0')}`;
  const live: number[] = [];
  const asOf: number[] = [];
  for (let request = -1; request < requests; request++) {
    const { tookMs: now } = await get(hub, list);
    const { tookMs: then } = await get(hub, past);
    // The first one of each is not counted.
    if (request < 0) continue;
    live.push(now);
    asOf.push(then);
  }
  process.stderr.write(`${past}: ${inMilliseconds(median(live))}, ${inMilliseconds(median(asOf))}\n`);
  return { list, instant, live, asOf };
}

function worst(what: string, asked: readonly Asked[], limit: number, measure: (one: Asked) => number, show: (value: number) => string): Target {
  const most = Math.max(...asked.map(measure));
  const over = [...new Set(asked.filter((one) => measure(one) > limit).map(({ list }) => list))];
  return {
    what,
    limit: `at most ${show(limit)}`,
    measured: over.length === 0 ? show(most) : `${show(most)}; over it: ${over.map((list) => `GET ${list}`).join(', ')}`,
    met: over.length === 0,
  };
}

interface Space {
  /** Bytes. */
  readonly perEvent: number;
  readonly ratio: number;
  readonly each: readonly string[];
}

async function spaceIn(databaseUrl: string): Promise<Space> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows: store } = await client.query<{ bytes: string }>(
      `select pg_total_relation_size('event_store.events') / greatest(count(*), 1) as bytes from event_store.events`,
    );
    const { rows } = await client.query<{ name: string; live: string; past: string }>(
      `select projection as name, pg_total_relation_size(format('read_models.%I', projection || '_g' || generation)) as live,
          pg_total_relation_size(format('read_models.%I', projection || '_g' || generation || '_past')) as past
        from read_models.projection_checkpoints where role = 'live' order by 2 desc`,
    );
    const sizes = rows.map(({ name, live, past }) => ({ name, live: Number(live), all: Number(live) + Number(past) }));
    const sum = (of: 'live' | 'all'): number => sizes.reduce((total, size) => total + size[of], 0);
    const inMib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
    return {
      perEvent: Number(store[0]?.bytes ?? 0),
      ratio: sum('all') / sum('live'),
      each: sizes.map(({ name, live, all }) => `${name} ${inMib(all)} / ${inMib(live)} MiB`),
    };
  } finally {
    await client.end();
  }
}
