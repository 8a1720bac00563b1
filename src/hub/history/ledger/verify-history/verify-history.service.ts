import { isDeepStrictEqual } from 'node:util';
import { Injectable } from '@nestjs/common';
import { Between, DataSource } from 'typeorm';
import { AuditEventReadModel } from '../../../../../projections/audit-events/audit-events.read-model.js';
import type { Position } from '../../../../kernel/position.js';
import { leafHashOf } from '../../../../lib/ledger/ledger-leaf.js';
import { GrowingTree, HASH_BYTES } from '../../../../lib/ledger/merkle-tree.js';
import { type TiledTree, TILE_WIDTH } from '../../../../lib/ledger/tiles.js';
import { categoryOf, EventStore, type RecordedEvent } from '../../../store/event-store/event-store.port.js';
import { historyOf } from '../../../store/event-store/history-of.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { Ledger } from '../model/ledger.reader.js';

export interface Disagreement {
  /** Number in the ledger, from 0. */
  readonly index: number;
  /** What the store has there; null: nothing. */
  readonly event: RecordedEvent | null;
  /** What the event disagrees with. */
  readonly with: 'ledger' | 'audit_log';
}

export interface HistoryVerdict {
  readonly size: number;
  readonly root: Buffer;
  /** null: every event is the one that the ledger recorded, and its hashes add up to its root. */
  readonly disagreement: Disagreement | null;
  readonly rootDiffers: boolean;
}

/** Computes the ledger again from the events in the store, and compares it hash by hash, and the audit log row by row. */
@Injectable()
export class VerifyHistory {
  constructor(
    private readonly store: EventStore,
    private readonly ledger: Ledger,
    private readonly dataSource: DataSource,
    private readonly readModels: ReadModels,
  ) {}

  async verify(): Promise<HistoryVerdict> {
    const tree = await this.ledger.tree();
    // Afterwards, so that it has every event of the tree.
    await this.readModels.current('audit_events');
    const root = await tree.root();
    const recomputed = new GrowingTree();
    const disagreement = await this.compare(tree, recomputed, await this.store.head());
    return { size: tree.size, root, disagreement, rootDiffers: disagreement === null && !recomputed.root().equals(root) };
  }

  private async compare(tree: TiledTree, recomputed: GrowingTree, head: Position | null): Promise<Disagreement | null> {
    let hashes = Buffer.alloc(0);
    for await (const events of historyOf(this.store, null, head)) {
      const rows = await this.rowsOf(events);
      for (const event of events) {
        const index = recomputed.size;
        if (index === tree.size) return null;
        const inTile = index % TILE_WIDTH;
        if (inTile === 0) {
          const width = Math.min(TILE_WIDTH, tree.size - index);
          hashes = Buffer.from(await this.ledger.tile({ level: 0, index: index / TILE_WIDTH, width }));
        }
        const hash = leafHashOf(event);
        if (!hash.equals(hashes.subarray(inTile * HASH_BYTES, (inTile + 1) * HASH_BYTES))) return { index, event, with: 'ledger' };
        if (!isRowOf(rows.get(event.position), event)) return { index, event, with: 'audit_log' };
        recomputed.append(hash);
      }
    }
    return recomputed.size === tree.size ? null : { index: recomputed.size, event: null, with: 'ledger' };
  }

  private async rowsOf(events: readonly RecordedEvent[]): Promise<ReadonlyMap<Position, AuditEventReadModel>> {
    const log_position = Between(events[0]?.position ?? '', events.at(-1)?.position ?? '');
    const rows = await this.dataSource.getRepository(AuditEventReadModel).findBy({ log_position });
    return new Map(rows.map((row) => [row.log_position, row]));
  }
}

function isRowOf(row: AuditEventReadModel | undefined, { id, stream, revision, type, data, metadata, recordedAt }: RecordedEvent): boolean {
  if (row === undefined) return false;
  const logged = [row.event_id, row.stream, row.category, Number(row.revision), row.type, row.data, row.recorded_at.getTime(), row.time.getTime()];
  const cause = [row.actor, row.correlation_id, row.causation_id, row.hub_id, row.schema_version];
  const { actor, $correlationId, $causationId, hub_id, schema_version, time } = metadata;
  return (
    isDeepStrictEqual(logged, [id, stream, categoryOf(stream), revision, type, data, Date.parse(recordedAt), Date.parse(time)]) &&
    isDeepStrictEqual(cause, [actor, $correlationId, $causationId, hub_id, schema_version])
  );
}
