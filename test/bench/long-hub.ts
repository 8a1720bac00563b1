import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PostgresEventStore } from '../../src/hub/store/event-store/postgres-event-store.js';
import { LocalPostgres } from '../../src/hub/store/postgres/local-postgres.js';
import { createPool } from '../../src/hub/store/postgres/postgres.module.js';
import { until } from '../support/hub-system.js';
import { LongHistory } from '../support/long-history.js';
import type { BenchHub } from './bench-hub.js';
import { inSeconds } from './measure.js';

export const VMS = 200;
export const SEED = 24;
/** With one disk and with two, in turn. */
export const EVENTS_OF_A_BACKUP = 25;
const PATIENCE_MS = 3 * 3_600_000;
const silent = { log: () => undefined, warn: () => undefined };

interface Figures {
  readonly events: number;
  readonly generatedPerSecond: number;
  readonly caughtUp: Effort;
}

/** What a piece of work over a history takes. */
export interface Effort {
  readonly perSecond: number;
  readonly text: string;
}

/** Writes the history while the hub is stopped, and waits until its read models stand at it. */
export async function fill(hub: BenchHub, rounds: number, vms = VMS): Promise<Figures> {
  // Read models may be a moment behind what has just been made.
  const node = await until('the node', async () => (await hub.system.api<{ nodes: readonly { node_id: string }[] }>('GET', '/nodes')).body.nodes[0]);
  const repository = await until('the repository', async () => {
    return (await hub.system.api<{ repositories: readonly { repository_id: string }[] }>('GET', '/repositories')).body.repositories[0];
  });
  await hub.system.kill('SIGTERM');
  const server = new LocalPostgres(join(hub.system.dataDirectory, 'postgres'), silent);
  const { ownerUrl: databaseUrl } = await server.ensureStarted();
  const pool = createPool(databaseUrl);
  const store = new PostgresEventStore(pool, silent);
  const settings = hub.system.settings;
  const history = new LongHistory(store, {
    seed: SEED,
    hubId: readFileSync(join(hub.system.dataDirectory, 'hub.id'), 'utf8').trim(),
    nodeId: node.node_id,
    repositoryId: repository.repository_id,
    vms,
    imageRoot: hub.system.imageRoot,
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
  process.stderr.write(`the read models have caught up: ${caughtUpAt.text}\n`);
  return { events: history.events, generatedPerSecond: (history.events * 1000) / (generated - begun), caughtUp: caughtUpAt };
}

/** What a piece of work over so many events takes: events a second, and processor time of the hub and of its PostgreSQL. */
async function effort(hub: BenchHub, events: number, work: () => Promise<unknown>): Promise<Effort> {
  const begun = performance.now();
  const before = processorSeconds(hub);
  await work();
  const seconds = (performance.now() - begun) / 1000;
  const after = processorSeconds(hub);
  const each = (spent: number): string => `${((spent * 1e6) / events).toFixed(1)} µs`;
  const perSecond = Math.round(events / seconds);
  return { perSecond, text: `${perSecond} a second (${each(after.hub - before.hub)} and ${each(after.postgres - before.postgres)} an event)` };
}

/** Linux counts in hundredths of a second. */
const TICKS_PER_SECOND = 100;

function processorSeconds(hub: BenchHub): { readonly hub: number; readonly postgres: number } {
  return { hub: processorTicks(hub.system.hubPid ?? 0).own / TICKS_PER_SECOND, postgres: postgresSeconds(join(hub.system.dataDirectory, 'postgres')) };
}

/** Processor time of a PostgreSQL server and its sessions, those that have ended included. @param directory of LocalPostgres */
export function postgresSeconds(directory: string): number {
  const lock = join(directory, 'cluster', 'postmaster.pid');
  const postmaster = existsSync(lock) ? Number(readFileSync(lock, 'utf8').split('\n')[0]) : null;
  let ticks = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const { parent, own, children } = processorTicks(Number(pid));
    if (Number(pid) === postmaster) ticks += own + children;
    else if (parent === postmaster) ticks += own;
  }
  return ticks / TICKS_PER_SECOND;
}

/** Processor time of programs that this one has started and that have ended. */
export function endedChildrenSeconds(): number {
  return processorTicks(process.pid).children / TICKS_PER_SECOND;
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

export async function projectionsOf(hub: BenchHub): Promise<readonly Projection[]> {
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

export async function rebuild(hub: BenchHub, name: string, events: number): Promise<Effort> {
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
  process.stderr.write(`rebuilt ${name}: ${took.text}\n`);
  return took;
}

/** The positions of this adapter are the numbers of the events. */
export function headOf(head: string | null | undefined): number {
  return Number(head ?? 0);
}

export async function restart(hub: BenchHub): Promise<number> {
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

export async function get(hub: BenchHub, path: string): Promise<{ readonly tookMs: number; readonly entries: number | null }> {
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
