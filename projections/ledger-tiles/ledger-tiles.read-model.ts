import { type EntityOf, integer, position, readModel, type RowOf, text } from '../../src/hub/store/postgres/read-model-definition.js';

/** The ledger's tiles (docs/ledger.md). The position of a row is that of the newest event in its tile. */
export const LedgerTileReadModel = readModel({
  name: 'ledger_tiles',
  key: 'tile',
  columns: {
    /** See tileKey; sorts by level, then index. */
    tile: position(),
    level: integer(),
    /** One to 256 hashes, base64. */
    hashes: text(),
  },
  indexes: ['(level, position)'],
});
export type LedgerTileReadModel = EntityOf<typeof LedgerTileReadModel>;
export type LedgerTileRow = RowOf<typeof LedgerTileReadModel>;

const INDEX_DIGITS = 14;

export function tileKey(level: number, index: number): string {
  return `${tilePrefix(level)}${String(index).padStart(INDEX_DIGITS, '0')}`;
}

/** What the keys of a level begin with. */
export function tilePrefix(level: number): string {
  return `${String(level).padStart(2, '0')}/`;
}

/** Index of the tile in its level. */
export function indexOfTile(key: string): number {
  return Number(key.slice(-INDEX_DIGITS));
}
