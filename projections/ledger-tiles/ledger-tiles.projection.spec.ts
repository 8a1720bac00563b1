import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Position } from '../../src/kernel/position.js';
import type { RecordedEvent } from '../../src/hub/store/event-store/event-store.port.js';
import { foldFromZero } from '../../src/hub/store/postgres/projection-definition.js';
import { ledgerTilesProjection } from './ledger-tiles.projection.js';
import type { LedgerTileRow } from './ledger-tiles.read-model.js';

const EVENTS = Array.from({ length: 800 }, (_, revision) => eventAt(revision));

describe('the tiles of the ledger', () => {
  it('are the same rows at the same positions however the events are divided into batches', () => {
    const atOnce = byKey(foldFromZero(ledgerTilesProjection, EVENTS));
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 12 }), (sizes) => {
        expect(byKey(foldedInBatches(sizes))).toEqual(atOnce);
      }),
      { numRuns: 20 },
    );
  });
});

interface Written {
  readonly row: LedgerTileRow;
  readonly position: Position;
}

/** The last batch has all events that `sizes` leave over. */
function foldedInBatches(sizes: readonly number[]): readonly Written[] {
  const { inOrder } = ledgerTilesProjection;
  if (inOrder === undefined) throw new Error('the projection does not fold in order');
  const rows = new Map<string, Written>();
  for (let from = 0, batch = 0; from < EVENTS.length; batch++) {
    const events = EVENTS.slice(from, from + (sizes[batch] ?? EVENTS.length));
    const newest = inOrder.prefixes.flatMap((prefix) =>
      [...rows.keys()]
        .filter((key) => key.startsWith(prefix))
        .sort()
        .slice(-1),
    );
    const written = inOrder.fold(
      newest.flatMap((key) => rows.get(key)?.row ?? []),
      events,
    );
    for (const one of written) rows.set(one.row.tile, one);
    from += events.length;
  }
  return [...rows.values()];
}

function byKey(rows: readonly { readonly row: object; readonly position: Position }[]): object {
  return Object.fromEntries(rows.map(({ row, position }) => [(row as LedgerTileRow).tile, { row, position }]));
}

function eventAt(revision: number): RecordedEvent {
  const at = '2026-01-02T03:04:05.678Z';
  return {
    id: `00000000-0000-4000-8000-${String(revision).padStart(12, '0')}`,
    stream: 'backup-1',
    revision,
    position: String(revision + 1).padStart(19, '0'),
    type: 'BackupRequested',
    data: { revision },
    metadata: { $correlationId: 'c', $causationId: 'd', actor: 'test', hub_id: 'h', schema_version: 1, time: at },
    recordedAt: at,
  };
}
