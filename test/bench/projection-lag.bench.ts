import { randomUUID } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { allProjections, allReadModels } from '../../projections/all-projections.js';
import type { BackupEvent } from '../../src/hub/backup/backups/model/backup.events.js';
import { EventStoreModule } from '../../src/hub/store/event-store/event-store.module.js';
import { EventStore, type EventToAppend } from '../../src/hub/store/event-store/event-store.port.js';
import { LocalPostgres } from '../../src/hub/store/postgres/local-postgres.js';
import { PostgresModule } from '../../src/hub/store/postgres/postgres.module.js';
import { ProjectionsModule } from '../../src/hub/store/postgres/projections.module.js';
import { ReadModels } from '../../src/hub/store/postgres/read-models.js';
import { atMost, type BenchOptions, type BenchResult, inMilliseconds, percentile } from './measure.js';

export const EVENTS_PER_SECOND = 500;
const BACKUPS = 50;
const TICK_MS = 10;
/** No figure is promised; more than this would be felt by whoever waits for an own write. */
const LIMIT_MS = 250;
const HUB_ID = '11111111-2222-4333-8444-555555555555';
const silent = { log: () => undefined, warn: () => undefined };

/** How long after its commit an event stands in every read model, at a steady rate. */
export async function benchProjectionLag({ smoke }: BenchOptions): Promise<BenchResult> {
  const seconds = smoke ? 3 : 60;
  const directory = await mkdtemp(join(tmpdir(), 'sendense-lag-'));
  // A PostgreSQL that root starts runs as another user, who must be able to pass through.
  await chmod(directory, 0o711);
  const server = new LocalPostgres(join(directory, 'postgres'), silent);
  try {
    const { ownerUrl: databaseUrl } = await server.ensureStarted();

    const { lags, achieved } = await measureLag(databaseUrl, seconds);
    const percents = [50, 95, 99, 100];
    return {
      title: `Projection lag at ${EVENTS_PER_SECOND} events a second`,
      notes: [
        `progress of ${BACKUPS} backups, one event an append, for ${seconds} s; ${Math.round(achieved)} events a second were reached`,
        `lag: from the answer of the append until all ${allProjections.length} read models have committed it; measured for each event`,
      ],
      head: ['', ...percents.map((percent) => (percent === 50 ? 'median' : percent === 100 ? 'slowest' : `${percent}th percentile`))],
      rows: [['lag', ...percents.map((percent) => inMilliseconds(percentile(lags, percent)))]],
      targets: [atMost('projection lag, 99th percentile', LIMIT_MS, percentile(lags, 99), inMilliseconds)],
    };
  } finally {
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

interface Lag {
  /** Milliseconds, one for each event. */
  readonly lags: readonly number[];
  /** Events a second. */
  readonly achieved: number;
}

/** Appends to a database whose owner this is, with the event store and the read models of a hub. */
export async function measureLag(databaseUrl: string, seconds: number): Promise<Lag> {
  @Module({
    imports: [
      PostgresModule.forRoot({ databaseUrl, readModels: allReadModels }),
      EventStoreModule.forRoot({ hubId: HUB_ID }),
      ProjectionsModule.forRoot(allProjections),
    ],
  })
  class LagModule {}

  const app = await NestFactory.createApplicationContext(LagModule, { logger: ['error'] });
  try {
    return await measure(app.get(EventStore, { strict: false }), app.get(ReadModels, { strict: false }), seconds);
  } finally {
    await app.close();
  }
}

async function measure(store: EventStore, readModels: ReadModels, seconds: number): Promise<Lag> {
  const streams = Array.from({ length: BACKUPS }, (_, number) => new BackupStream(number));
  for (const stream of streams) await stream.begin(store);
  const lags: number[] = [];
  const waiting: Promise<void>[] = [];
  const begun = performance.now();
  let sent = 0;
  for (;;) {
    const elapsed = performance.now() - begun;
    if (elapsed >= seconds * 1000) break;
    for (; sent < (elapsed / 1000) * EVENTS_PER_SECOND; sent++) {
      const stream = streams[sent % streams.length];
      if (stream === undefined) continue;
      const follow = async (): Promise<void> => {
        const position = await stream.progress(store);
        const committed = performance.now();
        await readModels.waitFor(position);
        lags.push(performance.now() - committed);
      };
      waiting.push(follow());
    }
    await pause(TICK_MS);
  }
  await Promise.all(waiting);
  return { lags, achieved: lags.length / ((performance.now() - begun) / 1000) };
}

/** A backup that is being copied, for ever. */
export class BackupStream {
  private readonly id = randomUUID();
  private bytes = 0;

  constructor(private readonly number: number) {}

  async begin(store: EventStore): Promise<void> {
    const time = new Date().toISOString();
    const size = 2 ** 40;
    const events: readonly BackupEvent[] = [
      {
        type: 'BackupRequested',
        data: {
          backup_id: this.id,
          vm_id: randomUUID(),
          vm_name: `bench-${this.number}`,
          node_id: randomUUID(),
          repository_id: randomUUID(),
          backup_type: 'full',
          policy_id: null,
          requested_at: time,
        },
      },
      {
        type: 'BackupPlannedV2',
        data: {
          backup_type: 'full',
          full_reason: 'requested',
          full_reason_detail: null,
          chain_id: randomUUID(),
          parent_backup_id: null,
          folder: `bench-${this.number}/full`,
          disks: [
            {
              disk_id: 0,
              disk_key: 'disk0.qcow2',
              size_bytes: size,
              source_format: 'qcow2',
              file: 'disk-0.qcow2',
              parent_file: null,
              parent_change_id: null,
            },
          ],
          ports: [],
          started_at: time,
        },
      },
      { type: 'TransferRequested', data: { node_id: randomUUID(), nbd_targets_string: '', requested_at: time } },
      { type: 'SnapshotTaken', data: { instant: time, change_ids: [] } },
      { type: 'DiskTransferStarted', data: { disk_id: 0, total_bytes: size } },
    ];
    await store.append(this.stream, 'no_stream', events.map(toAppend));
  }

  async progress(store: EventStore): Promise<string> {
    this.bytes += 2 ** 20;
    const event: BackupEvent = { type: 'DiskTransferProgressed', data: { disk_id: 0, bytes_transferred: this.bytes, total_bytes: 2 ** 40 } };
    return (await store.append(this.stream, 'any', [toAppend(event)])).position;
  }

  private get stream(): string {
    return `backup-${this.id}`;
  }
}

function toAppend({ type, data }: BackupEvent): EventToAppend {
  const time = new Date().toISOString();
  const metadata = { $correlationId: randomUUID(), $causationId: randomUUID(), actor: 'system:bench', hub_id: HUB_ID, schema_version: 1, time };
  return { id: randomUUID(), type, data, metadata };
}
