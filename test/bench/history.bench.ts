import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PostgresEventStore } from '../../src/platform/event-store/postgres-event-store.js';
import { LocalPostgres } from '../../src/platform/postgres/local-postgres.js';
import { createPool } from '../../src/platform/postgres/postgres.module.js';
import { until } from '../support/hub-system.js';
import { LongHistory } from '../support/long-history.js';
import { BenchHub, MIB } from './bench-hub.js';
import { type BenchOptions, type BenchResult, inMilliseconds, inSeconds, loadAverage, median, ratio, type Target } from './measure.js';

const LIMIT = 1.5;
const VMS = 200;
const SEED = 24;
const EVENTS = 4_000_000;
/** With one disk and with two, in turn. */
const EVENTS_OF_A_BACKUP = 24;
const PATIENCE_MS = 3 * 3_600_000;
const silent = { log: () => undefined, warn: () => undefined };

/** In the history of both stores: soon after its beginning. */
const EARLY = '2025-01-01T02:00:00Z';
const READS: readonly string[] = [
  '/health/ready',
  '/metrics',
  '/vms',
  '/nodes',
  '/repositories',
  '/backups',
  '/backups?status=failed',
  '/backups?status=running',
  '/backups?backup_type=full',
  '/backups?backup_type=auto',
  '/backups?vm_name=vm-0100',
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
  readonly caughtUpPerSecond: number;
}

/** What a hub with a long history costs, against one with the same VMs and one backup of each; both run at once, and are asked in turn. */
export async function benchHistory({ smoke, events: wanted = EVENTS }: BenchOptions): Promise<BenchResult> {
  const [asked, backups, starts] = smoke ? [5, 2, 1] : [100, 15, 5];
  const rounds = smoke ? 3 : Math.max(2, Math.round(wanted / (VMS * EVENTS_OF_A_BACKUP)));
  const env = { SENDENSE_CHAIN_MAX_LENGTH: '1000' };
  const empty = await BenchHub.start({ env });
  try {
    const full = await BenchHub.start({ env });
    try {
      const loadBefore = loadAverage();
      await fill(empty, 1);
      const figures = await fill(full, rounds);
      const events = headOf((await projectionsOf(full))[0]?.head_position);
      const rebuilt = [await rebuild(full, 'backups'), await rebuild(full, 'audit_events')];

      const compared: { readonly what: string; readonly empty: number; readonly full: number }[] = [];
      const bothStarts = await inTurn(starts, [() => restart(empty), () => restart(full)]);
      compared.push({ what: 'start of the hub, until it is ready', empty: median(bothStarts[0]), full: median(bothStarts[1]) });
      for (const hub of [empty, full]) {
        await hub.addVm('bench', 2, { sizeBytes: 256 * MIB, dataBytes: 8 * MIB });
        await hub.backUp('bench', 'full');
        await hub.backUp('bench', 'incremental');
      }
      const answered: [number[], number[]] = [[], []];
      const completed = await inTurn(
        backups,
        [empty, full].map((hub, index) => async () => {
          const { answeredMs, completedMs } = await hub.backUp('bench', 'incremental');
          answered[index]?.push(answeredMs);
          return completedMs;
        }),
      );
      compared.push({ what: 'POST /backups of an incremental, until it is answered', empty: median(answered[0]), full: median(answered[1]) });
      compared.push({ what: 'an empty incremental, until it is completed', empty: median(completed[0]), full: median(completed[1]) });
      for (const path of READS) {
        const times = await inTurn(asked, [() => get(empty, path), () => get(full, path)]);
        compared.push({ what: `GET ${path}`, empty: median(times[0]), full: median(times[1]) });
      }
      return {
        title: 'A long history',
        notes: [
          `${VMS} VMs; one backup of each in the empty store, ${rounds} of each in the full one: ${events} events (seed ${SEED}), written through the store's append at ${Math.round(figures.generatedPerSecond)} events a second`,
          `all read models, at once and from nothing: ${Math.round(figures.caughtUpPerSecond)} events a second; rebuilt alone: ${rebuilt
            .map(({ name, perSecond }) => `${name} ${Math.round(perSecond)}`)
            .join(', ')} events a second (goal of the next step: 50000)`,
          `both hubs run at once and are asked in turn, so that other work on the machine meets both: median of ${asked} requests, ${backups} backups, ${starts} starts`,
          `load average of the minute before and at the end: ${loadBefore.toFixed(1)}, ${loadAverage().toFixed(1)}`,
        ],
        head: ['', 'empty', 'full', 'ratio'],
        rows: compared.map(({ what, ...times }) => [what, inMilliseconds(times.empty), inMilliseconds(times.full), ratio(times.full / times.empty)]),
        targets: [worst(compared)],
      };
    } finally {
      await full.system.destroy();
    }
  } finally {
    await empty.system.destroy();
  }
}

function worst(compared: readonly { readonly what: string; readonly empty: number; readonly full: number }[]): Target {
  const missed = compared.filter(({ empty, full }) => full / empty > LIMIT);
  return {
    what: 'what a long history costs, each of the above',
    limit: `at most ${ratio(LIMIT)}`,
    measured:
      missed.length === 0 ? ratio(Math.max(...compared.map(({ empty, full }) => full / empty))) : `over it: ${missed.map(({ what }) => what).join('; ')}`,
    met: missed.length === 0,
  };
}

/** Writes the history beside the hub, which is ended meanwhile, and waits until its read models stand at it. */
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
  await hub.system.start();
  const started = performance.now();
  await caughtUp(hub);
  const ended = performance.now();
  process.stderr.write(`the read models have caught up in ${inSeconds(ended - started)}\n`);
  return { generatedPerSecond: (history.events * 1000) / (generated - begun), caughtUpPerSecond: (history.events * 1000) / (ended - started) };
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

async function rebuild(hub: BenchHub, name: string): Promise<{ readonly name: string; readonly perSecond: number }> {
  const before = (await projectionsOf(hub)).find((projection) => projection.name === name);
  const begun = performance.now();
  await hub.system.api('POST', `/projections/${name}/rebuild`, {});
  const after = await until(
    `the rebuild of ${name}`,
    async () => {
      const projection = (await projectionsOf(hub)).find((each) => each.name === name);
      return projection !== undefined && projection.rebuild === null && projection.generation !== before?.generation ? projection : null;
    },
    PATIENCE_MS,
  );
  const perSecond = (headOf(after.head_position) * 1000) / (performance.now() - begun);
  process.stderr.write(`rebuilt ${name} at ${Math.round(perSecond)} events a second\n`);
  return { name, perSecond };
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

async function get(hub: BenchHub, path: string): Promise<number> {
  const token = readFileSync(join(hub.system.dataDirectory, 'api.token'), 'utf8').trim();
  const url = `${hub.system.url()}/api/v1${path}`;
  const begun = performance.now();
  const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  const text = await answer.text();
  const took = performance.now() - begun;
  if (!answer.ok) throw new Error(`GET ${path} answered ${answer.status}: ${text.slice(0, 300)}`);
  return took;
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
