import { createWriteStream } from 'node:fs';
import { chmod, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type INestApplicationContext, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { execa } from 'execa';
import pg from 'pg';
import { allProjections, allReadModels } from '../../projections/all-projections.js';
import { ledgerTilesProjection } from '../../projections/ledger-tiles/ledger-tiles.projection.js';
import { EventStoreModule } from '../../src/hub/store/event-store/event-store.module.js';
import { EventStore } from '../../src/hub/store/event-store/event-store.port.js';
import { eventCheckOf } from '../../src/hub/store/postgres/event-check.js';
import { LocalPostgres } from '../../src/hub/store/postgres/local-postgres.js';
import { PostgresModule } from '../../src/hub/store/postgres/postgres.module.js';
import { ProjectionsModule } from '../../src/hub/store/postgres/projections.module.js';
import { ReadModels } from '../../src/hub/store/postgres/read-models.js';
import { DomainError } from '../../src/kernel/domain-error.js';
import { BenchHub, MIB } from './bench-hub.js';
import { endedChildrenSeconds, EVENTS_OF_A_BACKUP, fill, headOf, postgresSeconds, projectionsOf, SEED, VMS } from './long-hub.js';
import { atMost, type BenchOptions, type BenchResult, inSeconds, loadAverage, median, ratio, type Target } from './measure.js';
import { BackupStream } from './projection-lag.bench.js';

const WRITERS = 8;
/** Of the appends without the ledger. */
const LEAST_SHARE = 0.9;
const EVENTS = 1_000_000;
/** For a million events; in proportion for another number. */
const VERIFY_MS = 60_000;
const HUB_ID = '11111111-2222-4333-8444-555555555555';
const silent = { log: () => undefined, warn: () => undefined };

/** What the ledger costs appends, and how long an auditor needs to verify a history. */
export async function benchLedger({ smoke, events = EVENTS }: BenchOptions): Promise<BenchResult> {
  const loadBefore = loadAverage();
  const [rounds, seconds] = smoke ? [2, 1] : [7, 10];
  const { withLedger, without } = await measureAppends(rounds, seconds);
  const verified = await measureVerify(smoke ? VMS * EVENTS_OF_A_BACKUP : events);
  const ratios = withLedger.map(({ appends }, round) => appends / (without[round]?.appends ?? Number.NaN));
  const limitMs = (VERIFY_MS * verified.events) / EVENTS;
  return {
    title: 'The ledger',
    notes: [
      `appends: ${WRITERS} writers, one event an append, through the store of a hub with its checks, while all read models follow; ${rounds} rounds of ${seconds} s with and without \`ledger_tiles\`, in turn, each on a database of its own; medians`,
      `both: events a second until the last read model has them too; processor time of hub and PostgreSQL is an event's`,
      `appends with / without, of each round: ${ratios.map(ratio).join(', ')}`,
      `verify: ${verified.events} events (seed ${SEED}), written through the store's append; exported by GET /audit/events (${Math.round(verified.bytes / MIB)} MiB in ${inSeconds(verified.exportMs)}), with the hub's checkpoint and key`,
      `sendense ledger verify of the export: ${inSeconds(verified.verifyMs)}, ${verified.verifyProcessorSeconds.toFixed(2)} s of processor time`,
      `load average of the minute before and at the end: ${loadBefore.toFixed(1)}, ${loadAverage().toFixed(1)}`,
    ],
    head: ['', 'appends a second', 'both', 'hub', 'PostgreSQL'],
    rows: [rowOf('with the ledger', withLedger), rowOf('without', without)],
    targets: [appendsTarget(median(ratios)), atMost(`verify of ${verified.events} events`, limitMs, verified.verifyMs, inSeconds)],
  };
}

function appendsTarget(share: number): Target {
  return {
    what: 'appends with the ledger / without, median of the rounds',
    limit: `at least ${ratio(LEAST_SHARE)}`,
    measured: ratio(share),
    met: share >= LEAST_SHARE,
  };
}

interface Round {
  /** A second. */
  readonly appends: number;
  /** Events a second, until all read models have them. */
  readonly both: number;
  /** Processor time of an event, in microseconds. */
  readonly hub: number;
  readonly postgres: number;
}

function rowOf(what: string, rounds: readonly Round[]): readonly string[] {
  const of = (measure: (round: Round) => number): number => median(rounds.map(measure));
  return [
    what,
    String(Math.round(of(({ appends }) => appends))),
    String(Math.round(of(({ both }) => both))),
    `${of(({ hub }) => hub).toFixed(0)} µs`,
    `${of(({ postgres }) => postgres).toFixed(0)} µs`,
  ];
}

async function measureAppends(rounds: number, seconds: number): Promise<{ readonly withLedger: readonly Round[]; readonly without: readonly Round[] }> {
  const directory = await mkdtemp(join(tmpdir(), 'sendense-ledger-'));
  // A PostgreSQL that root starts runs as another user, who must be able to pass through.
  await chmod(directory, 0o711);
  const server = new LocalPostgres(join(directory, 'postgres'), silent);
  const sides: Side[] = [];
  try {
    const { ownerUrl } = await server.ensureStarted();
    for (const projections of [allProjections, allProjections.filter((projection) => projection !== ledgerTilesProjection)]) {
      sides.push(await Side.start(await freshDatabase(ownerUrl, `side_${sides.length}`), projections, join(directory, 'postgres')));
    }
    const measured: [Round[], Round[]] = [[], []];
    // The first round of each is not counted.
    for (let round = -1; round < rounds; round++) {
      for (const index of round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
        const figures = await sides[index]?.round(seconds);
        if (round >= 0 && figures !== undefined) measured[index].push(figures);
      }
    }
    return { withLedger: measured[0], without: measured[1] };
  } finally {
    for (const side of sides) await side.stop();
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

async function freshDatabase(ownerUrl: string, name: string): Promise<string> {
  const client = new pg.Client({ connectionString: ownerUrl });
  await client.connect();
  try {
    await client.query(`create database ${name}`);
  } finally {
    await client.end();
  }
  return Object.assign(new URL(ownerUrl), { pathname: `/${name}` }).href;
}

/** Event store and read models of a hub. */
class Side {
  private readonly store: EventStore;
  private readonly readModels: ReadModels;
  private readonly streams = Array.from({ length: WRITERS }, (_, number) => new BackupStream(number));

  private constructor(
    private readonly app: INestApplicationContext,
    private readonly postgres: string,
  ) {
    this.store = app.get(EventStore, { strict: false });
    this.readModels = app.get(ReadModels, { strict: false });
  }

  static async start(databaseUrl: string, projections: typeof allProjections, postgres: string): Promise<Side> {
    @Module({
      imports: [
        PostgresModule.forRoot({ databaseUrl, readModels: allReadModels }),
        EventStoreModule.forRoot({ hubId: HUB_ID, check: eventCheckOf(projections) }),
        ProjectionsModule.forRoot(projections),
      ],
    })
    class SideModule {}

    const side = new Side(await NestFactory.createApplicationContext(SideModule, { logger: ['error'] }), postgres);
    for (const stream of side.streams) await stream.begin(side.store);
    return side;
  }

  async round(seconds: number): Promise<Round> {
    const spent = process.cpuUsage();
    const spentByPostgres = postgresSeconds(this.postgres);
    const begun = performance.now();
    let events = 0;
    const write = async (stream: BackupStream): Promise<void> => {
      for (; performance.now() - begun < seconds * 1000; events++) await stream.progress(this.store);
    };
    await Promise.all(this.streams.map(write));
    const appended = performance.now();
    await this.caughtUp();
    const { user, system } = process.cpuUsage(spent);
    return {
      appends: (events * 1000) / (appended - begun),
      both: (events * 1000) / (performance.now() - begun),
      hub: (user + system) / events,
      postgres: ((postgresSeconds(this.postgres) - spentByPostgres) * 1e6) / events,
    };
  }

  async stop(): Promise<void> {
    await this.app.close();
  }

  private async caughtUp(): Promise<void> {
    for (;;) {
      try {
        await this.readModels.current();
        return;
      } catch (error) {
        if (!(error instanceof DomainError && error.code === 'read_model_behind')) throw error;
      }
    }
  }
}

interface Verified {
  readonly events: number;
  readonly bytes: number;
  readonly exportMs: number;
  readonly verifyMs: number;
  readonly verifyProcessorSeconds: number;
}

/** Exports the history of a hub as a user would, and verifies it with the program. */
async function measureVerify(wanted: number): Promise<Verified> {
  const hub = await BenchHub.start({ env: { SENDENSE_CHAIN_MAX_LENGTH: '1000' } });
  try {
    await fill(hub, Math.max(1, Math.round(wanted / (VMS * EVENTS_OF_A_BACKUP))));
    const export_ = join(hub.system.directory, 'events.ndjson');
    const checkpoint = join(hub.system.directory, 'checkpoint.txt');
    await writeFile(checkpoint, await (await ask(hub, '/ledger/checkpoint')).text());
    const { key } = (await (await ask(hub, '/ledger/key')).json()) as { readonly key: string };
    const asked = performance.now();
    const { body } = await ask(hub, '/audit/events?order=oldest_first', 'application/x-ndjson');
    if (body === null) throw new Error('the export has no content');
    await pipeline(Readable.fromWeb(body), createWriteStream(export_));
    const exported = performance.now();
    const events = headOf((await projectionsOf(hub))[0]?.head_position);
    process.stderr.write(`exported ${events} events in ${inSeconds(exported - asked)}\n`);
    const program = join(hub.system.dist, 'src/cli/main.cli.js');
    const spent = endedChildrenSeconds();
    const begun = performance.now();
    const { stdout } = await execa(process.execPath, [program, 'ledger', 'verify', '--events', export_, '--checkpoint', checkpoint, '--key', key]);
    const verifyMs = performance.now() - begun;
    process.stderr.write(`${stdout}\n`);
    return { events, bytes: (await stat(export_)).size, exportMs: exported - asked, verifyMs, verifyProcessorSeconds: endedChildrenSeconds() - spent };
  } finally {
    await hub.system.destroy();
  }
}

async function ask(hub: BenchHub, path: string, accept = '*/*'): Promise<Response> {
  const headers = { authorization: `Bearer ${hub.system.apiToken()}`, accept };
  const answer = await fetch(`${hub.system.url()}/api/v1${path}`, { headers });
  if (!answer.ok) throw new Error(`GET ${path} answered ${answer.status}: ${(await answer.text()).slice(0, 300)}`);
  return answer;
}
