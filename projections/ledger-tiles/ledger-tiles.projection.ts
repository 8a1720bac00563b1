import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import { leafHashOf } from '../../src/lib/ledger/ledger-leaf.js';
import { HASH_BYTES } from '../../src/lib/ledger/merkle-tree.js';
import { appendLeaves, type Tile, TILE_WIDTH } from '../../src/lib/ledger/tiles.js';
import { indexOfTile, LedgerTileReadModel, type LedgerTileRow, tileKey, tilePrefix } from './ledger-tiles.read-model.js';

/** Enough for 256^6 events. */
const LEVELS = 6;

/** The Merkle tree over all events in the order of the store, as tiles: level 0 has the hash of each event. */
export const ledgerTilesProjection: Projection<LedgerTileRow> = {
  ...LedgerTileReadModel.definition,
  categories: null,
  keys: () => [],
  fold: () => null,
  inOrder: {
    prefixes: Array.from({ length: LEVELS }, (_, level) => tilePrefix(level)),
    fold: (newest, events) => {
      const edge: Tile[] = [];
      for (const row of newest) edge[row.level] = toTile(row);
      const changed = appendLeaves(edge, events.map(leafHashOf));
      const before = sizeOf(edge[0]);
      return changed.map((tile) => {
        // A tile that changed ends with an event of this batch.
        const ending = events[sizeOf(tile) - before - 1];
        if (ending === undefined) throw new Error(`tile ${tile.index} of level ${tile.level} does not end in these ${events.length} events`);
        return { row: { tile: tileKey(tile.level, tile.index), level: tile.level, hashes: tile.hashes.toString('base64') }, position: ending.position };
      });
    },
  },
};

function toTile({ tile, level, hashes }: LedgerTileRow): Tile {
  return { level, index: indexOfTile(tile), hashes: Buffer.from(hashes, 'base64') };
}

/** Number of leaves up to the end of a tile. */
function sizeOf(tile: Tile | undefined): number {
  return tile === undefined ? 0 : (tile.index * TILE_WIDTH + tile.hashes.length / HASH_BYTES) * TILE_WIDTH ** tile.level;
}
