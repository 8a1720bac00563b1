import { describe, expect, it } from '@jest/globals';
import { leafHash } from './merkle-tree.js';
import { appendLeaves, parseTilePath, type Tile, tilePath } from './tiles.js';

describe('tiles', () => {
  it.each([
    ['tile/0/000', { level: 0, index: 0, width: 256 }],
    ['tile/0/x001/x234/067', { level: 0, index: 1_234_067, width: 256 }],
    ['tile/2/000.p/1', { level: 2, index: 0, width: 1 }],
  ])('are named %s', (path, tile) => {
    expect(tilePath(tile)).toBe(path);
    expect(parseTilePath(path)).toEqual(tile);
  });

  it.each([
    'tile/0/0',
    'tile/00/000',
    'tile/64/000',
    'tile/0/x000/001',
    'tile/0/000.p/0',
    'tile/0/000.p/256',
    'tile/0/000.p/01',
    'tile/0/001/002',
    'tile/-1/000',
  ])('are never named %s', (path) => {
    expect(parseTilePath(path)).toBeNull();
  });

  it('are the same whether leaves are appended in one batch or in many', () => {
    const leaves = Array.from({ length: 66_000 }, (_, index) => leafHash(Buffer.from(String(index))));
    const keep = (kept: Map<string, string>, tiles: readonly Tile[]): void => {
      for (const { level, index, hashes } of tiles) kept.set(`${level}/${index}`, hashes.toString('hex'));
    };
    const atOnce = new Map<string, string>();
    keep(atOnce, appendLeaves([], leaves));
    const stepwise = new Map<string, string>();
    const edge: Tile[] = [];
    for (let from = 0, step = 1; from < leaves.length; from += step, step = (step * 7) % 1_021) {
      const changed = appendLeaves(edge, leaves.slice(from, from + step));
      keep(stepwise, changed);
      for (const tile of changed) edge[tile.level] = tile;
    }
    expect(stepwise).toEqual(atOnce);
    expect(atOnce.get('2/0')).toHaveLength(64);
  });
});
