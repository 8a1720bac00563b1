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
      const last = events.at(-1)?.position ?? '';
      return changed.map((tile) => ({
        row: { tile: tileKey(tile.level, tile.index), level: tile.level, hashes: tile.hashes.toString('base64') },
        // A tile of a higher level ends with an event of this batch too; only where full tiles of level 0 end must be exact.
        position: tile.level === 0 ? (events[sizeOf(tile) - before - 1]?.position ?? last) : last,
      }));
    },
  },
};

function toTile({ tile, level, hashes }: LedgerTileRow): Tile {
  return { level, index: indexOfTile(tile), hashes: Buffer.from(hashes, 'base64') };
}

/** Number of leaves up to the end of a tile of level 0. */
function sizeOf(tile: Tile | undefined): number {
  return tile === undefined ? 0 : tile.index * TILE_WIDTH + tile.hashes.length / HASH_BYTES;
}
