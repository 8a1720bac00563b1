import { setTimeout as pause } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import type { Counter } from 'prom-client';
import { DataSource } from 'typeorm';
import { AuditEventReadModel } from '../../../../../projections/audit-events/audit-events.read-model.js';
import { indexOfTile, LedgerTileReadModel, tileKey } from '../../../../../projections/ledger-tiles/ledger-tiles.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { KeyedMutex } from '../../../../lib/concurrency/keyed-mutex.js';
import { type Checkpoint, signCheckpoint } from '../../../../lib/ledger/checkpoint.js';
import { leafHashOf, leafOf } from '../../../../lib/ledger/ledger-leaf.js';
import { HASH_BYTES } from '../../../../lib/ledger/merkle-tree.js';
import { TiledTree, TILE_WIDTH, type TilePath } from '../../../../lib/ledger/tiles.js';
import { MetricsRegistry } from '../../../../lib/http/metrics-registry.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import type { ManifestSigner } from '../../../../storage/repository-files/manifest-signature.js';
import { EventStore, type RecordedEvent } from '../../../store/event-store/event-store.port.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { LastCheckpoint } from './last-checkpoint.service.js';
import { LedgerKeys } from './ledger-keys.service.js';

const FLUSH_LOOK_MS = 20;

export interface EventProof {
  readonly event: RecordedEvent;
  readonly index: number;
  /** Canonical JSON. */
  readonly leaf: string;
  readonly leafHash: Buffer;
  readonly proof: readonly Buffer[];
  /** Of the tree that contains the event. */
  readonly checkpoint: string;
}

/** The ledger: a Merkle tree over all events, read from its tiles. */
@Injectable()
export class Ledger {
  private readonly log = loggerFor('Ledger');
  private readonly mutex = new KeyedMutex();
  private refused: DomainError | null = null;
  private readonly failures: Counter;

  constructor(
    private readonly dataSource: DataSource,
    private readonly store: EventStore,
    private readonly keys: LedgerKeys,
    private readonly last: LastCheckpoint,
    private readonly readModels: ReadModels,
    metrics: MetricsRegistry,
  ) {
    this.failures = metrics.counter({ name: 'sendense_ledger_checkpoint_failures_total', help: 'Attempts to sign a checkpoint that failed' });
  }

  /** Why the history does not continue the last checkpoint, as of the last attempt to sign one; null: it does. */
  get refusal(): DomainError | null {
    return this.refused;
  }

  /** Signs with the key of now, also after a rotation. */
  get manifestSigner(): ManifestSigner {
    return this.keys.manifestSigner;
  }

  /** The newest checkpoint, signed. Whatever it covers is on stable storage. @throws DomainError `checkpoint_refused`, `read_model_behind` */
  async checkpoint(): Promise<string> {
    return (await this.signed()).checkpoint;
  }

  /** The tree of all events that the ledger covers and that are on stable storage. */
  async tree(): Promise<TiledTree> {
    const [found] = await this.dataSource.query<{ tile: string | null; hashes: string | null; lsn: string }[]>(
      `select newest.tile, newest.hashes, pg_current_wal_insert_lsn()::text as lsn from (select) nothing left join lateral (
         select tile, hashes from read_models.ledger_tiles where tile >= $1 and tile < $2 order by tile desc limit 1
       ) newest on true`,
      [tileKey(0, 0), tileKey(1, 0)],
    );
    if (found === undefined) throw new Error('PostgreSQL returned no answer');
    // Where commits do not wait for the disk, an event that was read can still be lost.
    while (!(await this.isFlushed(found.lsn))) await pause(FLUSH_LOOK_MS);
    const size =
      found.tile === null || found.hashes === null ? 0 : indexOfTile(found.tile) * TILE_WIDTH + Buffer.from(found.hashes, 'base64').length / HASH_BYTES;
    return this.treeOf(size);
  }

  /** @throws DomainError `ledger_tile_not_found` */
  async tile({ level, index, width }: TilePath): Promise<Buffer> {
    const row = await this.dataSource.getRepository(LedgerTileReadModel).findOneBy({ tile: tileKey(level, index) });
    const hashes = Buffer.from(row?.hashes ?? '', 'base64');
    if (hashes.length >= width * HASH_BYTES) return hashes.subarray(0, width * HASH_BYTES);
    throw new DomainError('not_found', 'ledger_tile_not_found', `The ledger has no tile ${index} of level ${level} with ${width} hashes.`, {
      level,
      index,
      width,
    });
  }

  /** @throws DomainError `event_not_found`, `event_not_in_ledger`, `event_differs`; as `checkpoint` */
  async proveEvent(eventId: string): Promise<EventProof> {
    const [found] = await this.dataSource.getRepository(AuditEventReadModel).find({ where: { event_id: eventId }, order: { log_position: 'ASC' }, take: 1 });
    const event = found === undefined ? null : await this.event(found.stream, Number(found.revision));
    if (event === null) throw new DomainError('not_found', 'event_not_found', `There is no event ${eventId}.`, { event_id: eventId });
    const { tree, checkpoint } = await this.signed();
    const leaf = leafOf(event);
    const leafHash = leafHashOf(event);
    const tile = await this.dataSource
      .getRepository(LedgerTileReadModel)
      .createQueryBuilder('t')
      .where('t.level = 0 and t.position >= :position', { position: event.position })
      .orderBy('t.tile')
      .limit(1)
      .getOne();
    if (tile === null) {
      throw new DomainError('unavailable', 'event_not_in_ledger', `The ledger does not cover event ${eventId} yet; try again.`, { event_id: eventId });
    }
    const at = findHash(Buffer.from(tile.hashes, 'base64'), leafHash);
    const index = indexOfTile(tile.tile) * TILE_WIDTH + at;
    if (at === -1 || index >= tree.size) {
      const detail = `Event ${eventId} is not the one that the ledger has recorded: it was changed in the database. GET /audit/verify names the first such event.`;
      throw new DomainError('conflict', 'event_differs', detail, { event_id: eventId });
    }
    return { event, index, leaf, leafHash, proof: await tree.inclusionProof(index), checkpoint };
  }

  /** @throws DomainError `ledger_size_not_reached` */
  async proveConsistency(from: number, to: number): Promise<readonly Buffer[]> {
    const { size } = await this.tree();
    if (to > size) {
      throw new DomainError('conflict', 'ledger_size_not_reached', `The ledger covers ${size} events, not ${to}.`, { size });
    }
    return this.treeOf(to).consistencyProof(from);
  }

  private treeOf(size: number): TiledTree {
    return new TiledTree(size, (level, index, width) => this.tile({ level, index, width }));
  }

  /** One at a time, because each must continue the one before it. */
  private async signed(): Promise<{ readonly tree: TiledTree; readonly checkpoint: string }> {
    return this.mutex.runExclusive('sign', async () => {
      try {
        const last = await this.last.read();
        const tree = await this.continuing(last);
        const checkpoint = signCheckpoint({ origin: this.keys.origin, size: tree.size, root: await tree.root() }, this.keys.privateKey);
        if (last?.size !== tree.size) await this.last.keep(checkpoint);
        this.refused = null;
        return { tree, checkpoint };
      } catch (error) {
        this.failures.inc();
        if (error instanceof DomainError && error.code === 'checkpoint_refused') {
          if (this.refused === null) this.log.error(error.message);
          this.refused = error;
        }
        throw error;
      }
    });
  }

  /** The newest tree. @throws DomainError `checkpoint_refused` if it does not begin with that of the last checkpoint */
  private async continuing(last: Checkpoint | null): Promise<TiledTree> {
    let tree = await this.tree();
    if (last === null) return tree;
    if (tree.size < last.size) {
      // It may still be catching up with the store.
      await this.readModels.current('ledger_tiles');
      tree = await this.tree();
    }
    const signed = `the last checkpoint that the hub has signed covers ${last.size} events`;
    if (tree.size < last.size) throw this.last.refusal(`The history has ${tree.size} events, but ${signed}: the database was put back, or events removed`);
    if (!(await this.treeOf(last.size).root()).equals(last.root)) {
      throw this.last.refusal(`The history has ${tree.size} events, but ${signed} that it does not begin with: it was put back and continued, or rewritten`);
    }
    return tree;
  }

  private async event(stream: string, revision: number): Promise<RecordedEvent | null> {
    for await (const event of this.store.read(stream, { from: revision, limit: 1 })) return event;
    return null;
  }

  private async isFlushed(lsn: string): Promise<boolean> {
    const [row] = await this.dataSource.query<{ flushed: boolean }[]>('select pg_current_wal_flush_lsn() >= $1::pg_lsn as flushed', [lsn]);
    return row?.flushed === true;
  }
}

/** Index of a hash among others; -1: it is not there. */
function findHash(hashes: Buffer, wanted: Buffer): number {
  for (let at = 0; at < hashes.length; at += HASH_BYTES) if (wanted.equals(hashes.subarray(at, at + HASH_BYTES))) return at / HASH_BYTES;
  return -1;
}
