import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PostgresEventStore } from '../../src/hub/store/event-store/postgres-event-store.js';
import { LocalPostgres } from '../../src/hub/store/postgres/local-postgres.js';
import { createPool } from '../../src/hub/store/postgres/postgres.module.js';
import { until } from '../support/hub-system.js';
import { LongHistory } from '../support/long-history.js';
import { BenchHub, MIB } from './bench-hub.js';
import { type BenchOptions, type BenchResult, inMilliseconds, inSeconds, loadAverage, median, ratio, type Target } from './measure.js';

const LIMIT = 1.5;
const VMS = 200;
const SEED = 24;
const EVENTS = 4_000_000;
/** With one disk and with two, in turn. */
const EVENTS_OF_A_BACKUP = 25;
/** Backups of each VM in the short history: enough to fill every page that is asked for. */
const SHORT_ROUNDS = 10;
/** A ratio above the limit is measured again up to so many times; all measurements count. */
const REPEATS = 4;
const PATIENCE_MS = 3 * 3_600_000;
const silent = { log: () => undefined, warn: () => undefined };

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

interface Figures {
  readonly generatedPerSecond: number;
  readonly caughtUp: string;
}

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
      for (const { name } of projections) rebuilt.push(await rebuild(long, name, events));
      return {
        title: 'A long history',
        notes: [
          `${VMS} VMs; ${SHORT_ROUNDS} backups of each in the short history, ${rounds} in the long one: ${events} events (seed ${SEED}), written through the store's append at ${Math.round(figures.generatedPerSecond)} events a second`,
          `the short history fills every page that is asked for, so that a page of as many entries is compared; a page of fewer costs less however short the history is`,
          `all read models, at once and from nothing: ${figures.caughtUp}`,
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

/** Writes the history while the hub is stopped, and waits until its read models stand at it. */
async function fill(hub: BenchHub, rounds: number): Promise<Figures> {
  const { nodes } = (await hub.system.api<{ nodes: readonly { node_id: string }[] }>('GET', '/nodes')).body;
  const { repositories } = (await hub.system.api<{ repositories: readonly { repository_id: string }[] }>('GET', '/repositories')).body;
  await hub.system.kill('SIGTERM');
  const server = new LocalPostgres(join(hub.system.dataDirectory, 'postgres'), silent);
  const { ownerUrl: databaseUrl } = await server.ensureStarted();
  const pool = createPool(databaseUrl);
  const store = new PostgresEventStore(pool, silent);
  const settings = hub.system.settings;
  const history = new LongHistory(store, {
    seed: SEED,
    hubId: readFileSync(join(hub.system.dataDirectory, 'hub.id'), 'utf8').trim(),
    nodeId: nodes[0]?.node_id ?? '',
    repositoryId: repositories[0]?.repository_id ?? '',
    vms: VMS,
    firstPort: Number(settings['SENDENSE_NBD_PORT_FIRST']),
    portCount: Number(settings['SENDENSE_NBD_PORT_COUNT']),
  });
  const begun = performance.now();
  try {
    await history.registerVms();
    await history.backUp(rounds);
  } finally {
    await store.close();
    await pool.end();
    await server.stop();
  }
  const generated = performance.now();
  process.stderr.write(`wrote ${history.events} events of ${history.backups} backups in ${inSeconds(generated - begun)}\n`);
  const caughtUpAt = await effort(hub, history.events, async () => {
    await hub.system.start();
    await caughtUp(hub);
  });
  process.stderr.write(`the read models have caught up: ${caughtUpAt}\n`);
  return { generatedPerSecond: (history.events * 1000) / (generated - begun), caughtUp: caughtUpAt };
}

/** What a piece of work over so many events takes: events a second, and processor time of the hub and of its PostgreSQL. */
async function effort(hub: BenchHub, events: number, work: () => Promise<unknown>): Promise<string> {
  const begun = performance.now();
  const before = processorSeconds(hub);
  await work();
  const seconds = (performance.now() - begun) / 1000;
  const after = processorSeconds(hub);
  const each = (spent: number): string => `${((spent * 1e6) / events).toFixed(1)} µs`;
  return `${Math.round(events / seconds)} a second (${each(after.hub - before.hub)} and ${each(after.postgres - before.postgres)} an event)`;
}

/** Linux counts in hundredths of a second. */
const TICKS_PER_SECOND = 100;

function processorSeconds(hub: BenchHub): { readonly hub: number; readonly postgres: number } {
  const cluster = join(hub.system.dataDirectory, 'postgres', 'cluster');
  const lock = join(cluster, 'postmaster.pid');
  const postmaster = existsSync(lock) ? Number(readFileSync(lock, 'utf8').split('\n')[0]) : null;
  let postgres = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const { parent, own, children } = processorTicks(Number(pid));
    if (Number(pid) === postmaster) postgres += own + children;
    else if (parent === postmaster) postgres += own;
  }
  return { hub: processorTicks(hub.system.hubPid ?? 0).own / TICKS_PER_SECOND, postgres: postgres / TICKS_PER_SECOND };
}

/** Its own, and those of its children that have ended; nothing of a process that is gone. */
function processorTicks(pid: number): { readonly parent: number; readonly own: number; readonly children: number } {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Of the 52 values of proc(5), from the third on: the second may hold blanks.
    const values = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    const at = (number: number): number => values[number - 3] ?? 0;
    return { parent: at(4), own: at(14) + at(15), children: at(16) + at(17) };
  } catch {
    return { parent: 0, own: 0, children: 0 };
  }
}

interface Projection {
  readonly name: string;
  readonly state: string;
  readonly generation: number;
  readonly position: string | null;
  readonly head_position: string | null;
  readonly rebuild: object | null;
}

async function projectionsOf(hub: BenchHub): Promise<readonly Projection[]> {
  return (await hub.system.api<{ projections: readonly Projection[] }>('GET', '/projections')).body.projections;
}

function caughtUp(hub: BenchHub): Promise<true> {
  return until(
    'the read models',
    async () => {
      const projections = await projectionsOf(hub);
      const halted = projections.find(({ state }) => state === 'halted');
      if (halted !== undefined) throw new Error(`the projection ${halted.name} is halted`);
      return projections.every(({ state, position, head_position }) => state === 'live' && position === head_position) ? true : null;
    },
    PATIENCE_MS,
  );
}

async function rebuild(hub: BenchHub, name: string, events: number): Promise<string> {
  const find = async (): Promise<Projection | undefined> => (await projectionsOf(hub)).find((projection) => projection.name === name);
  const before = await find();
  const took = await effort(hub, events, async () => {
    await hub.system.api('POST', `/projections/${name}/rebuild`, {});
    await until(
      `the rebuild of ${name}`,
      async () => {
        const projection = await find();
        return projection !== undefined && projection.rebuild === null && projection.generation !== before?.generation ? projection : null;
      },
      PATIENCE_MS,
    );
  });
  process.stderr.write(`rebuilt ${name}: ${took}\n`);
  return `${name} ${took}`;
}

/** The positions of this adapter are the numbers of the events. */
function headOf(head: string | null | undefined): number {
  return Number(head ?? 0);
}

async function restart(hub: BenchHub): Promise<number> {
  await hub.system.kill('SIGTERM');
  const begun = performance.now();
  await hub.system.launch();
  await until('the hub to be ready', async () => (await hub.system.api('GET', '/health/ready')).status === 200);
  const took = performance.now() - begun;
  // Its node is not part of the start, but of the backups that follow.
  await until('the node', async () =>
    (await hub.system.api<{ nodes: readonly { state: string }[] }>('GET', '/nodes')).body.nodes.every(({ state }) => state === 'reachable'),
  );
  return took;
}

async function get(hub: BenchHub, path: string): Promise<{ readonly tookMs: number; readonly entries: number | null }> {
  const token = readFileSync(join(hub.system.dataDirectory, 'api.token'), 'utf8').trim();
  const url = `${hub.system.url()}/api/v1${path}`;
  const begun = performance.now();
  const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  const text = await answer.text();
  const tookMs = performance.now() - begun;
  if (!answer.ok) throw new Error(`GET ${path} answered ${answer.status}: ${text.slice(0, 300)}`);
  return { tookMs, entries: answer.headers.get('content-type')?.includes('json') === true ? entriesOf(JSON.parse(text)) : null };
}

/** Of a list, which is the one array of its answer; null where there is none. */
function entriesOf(answer: object): number | null {
  const lists = Object.values(answer).filter((member) => Array.isArray(member));
  return lists.length === 1 ? (lists[0]?.length ?? null) : null;
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
