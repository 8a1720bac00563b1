import { EMPTY_ROOT, HASH_BYTES, nodeHash, splitOf } from './merkle-tree.js';

/** Hashes of a full tile (C2SP tlog-tiles). */
export const TILE_WIDTH = 256;
const TILE_HEIGHT = 8;

/** Tile `index` of a level; at level 0 its hashes are those of leaves, above those of full tiles of the level below. */
export interface Tile {
  readonly level: number;
  readonly index: number;
  /** One to 256 hashes. */
  readonly hashes: Buffer;
}

/** Reads the first `width` hashes of a tile or more. @throws if the tile has fewer */
export type TileReader = (level: number, index: number, width: number) => Promise<Buffer>;

/** `tile/<L>/<N>[.p/<W>]` */
export interface TilePath {
  readonly level: number;
  readonly index: number;
  readonly width: number;
}

export function tilePath({ level, index, width }: TilePath): string {
  const digits = String(index);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, '0').match(/\d{3}/g) ?? [];
  const name = groups.map((group, at) => (at === groups.length - 1 ? group : `x${group}`)).join('/');
  return `tile/${level}/${name}${width === TILE_WIDTH ? '' : `.p/${width}`}`;
}

/** @param path without a leading slash @returns null: it is not the path of a tile */
export function parseTilePath(path: string): TilePath | null {
  const found = /^tile\/(\d{1,2})\/((?:x\d{3}\/)*\d{3})(?:\.p\/(\d{1,3}))?$/.exec(path);
  const [, level = '', name = '', width = String(TILE_WIDTH)] = found ?? [];
  const tile = { level: Number(level), index: Number(name.replaceAll(/[x/]/g, '')), width: Number(width) };
  return found !== null && tile.level < 64 && tile.width >= 1 && Number.isSafeInteger(tile.index) && tilePath(tile) === path ? tile : null;
}

/**
 * Appends leaves to a tree.
 * @param edge the incomplete or newest tile of each level from 0; a level without tiles may be missing
 * @returns the tiles that changed, new ones included
 */
export function appendLeaves(edge: readonly Tile[], leaves: readonly Buffer[]): readonly Tile[] {
  const changed: Tile[] = [];
  let added = leaves;
  for (let level = 0; added.length > 0; level += 1) {
    const last = edge[level];
    const isFull = last?.hashes.length === TILE_WIDTH * HASH_BYTES;
    const start = last === undefined ? 0 : isFull ? last.index + 1 : last.index;
    const hashes = Buffer.concat([...(last === undefined || isFull ? [] : [last.hashes]), ...added]);
    const completed: Buffer[] = [];
    for (let from = 0, index = start; from < hashes.length; from += TILE_WIDTH * HASH_BYTES, index += 1) {
      const tile = { level, index, hashes: hashes.subarray(from, from + TILE_WIDTH * HASH_BYTES) };
      changed.push(tile);
      if (tile.hashes.length === TILE_WIDTH * HASH_BYTES) completed.push(perfectRoot(tile.hashes));
    }
    added = completed;
  }
  return changed;
}

/** Root of the complete tree over these hashes, whose number is a power of two. */
function perfectRoot(hashes: Buffer): Buffer {
  if (hashes.length === HASH_BYTES) return hashes;
  const half = hashes.length / 2;
  return nodeHash(perfectRoot(hashes.subarray(0, half)), perfectRoot(hashes.subarray(half)));
}

/** The tree of the first `size` leaves, of which it reads only the tiles that it needs. */
export class TiledTree {
  constructor(
    readonly size: number,
    private readonly read: TileReader,
  ) {}

  async root(): Promise<Buffer> {
    return this.size === 0 ? EMPTY_ROOT : this.hashOf(0, this.size);
  }

  async leaf(index: number): Promise<Buffer> {
    return this.hashOf(index, index + 1);
  }

  /** Hashes that lead from the leaf at `index` to the root (RFC 6962, section 2.1.1). */
  async inclusionProof(index: number): Promise<readonly Buffer[]> {
    if (!(index >= 0 && index < this.size)) throw new RangeError(`a tree of ${this.size} leaves has no leaf ${index}`);
    const proof: Promise<Buffer>[] = [];
    for (let [from, to] = [0, this.size]; to - from > 1;) {
      const split = from + splitOf(to - from);
      proof.unshift(index < split ? this.hashOf(split, to) : this.hashOf(from, split));
      [from, to] = index < split ? [from, split] : [split, to];
    }
    return Promise.all(proof);
  }

  /** Hashes that prove that this tree begins with the leaves of the tree of `oldSize` (RFC 6962, section 2.1.2). */
  async consistencyProof(oldSize: number): Promise<readonly Buffer[]> {
    if (!(oldSize >= 0 && oldSize <= this.size)) throw new RangeError(`a tree of ${this.size} leaves contains no tree of ${oldSize}`);
    if (oldSize === 0 || oldSize === this.size) return [];
    const proof: Promise<Buffer>[] = [];
    let [from, to] = [0, this.size];
    while (to !== oldSize) {
      const split = from + splitOf(to - from);
      proof.unshift(oldSize <= split ? this.hashOf(split, to) : this.hashOf(from, split));
      [from, to] = oldSize <= split ? [from, split] : [split, to];
    }
    // The old tree itself is known to the verifier.
    if (from !== 0) proof.unshift(this.hashOf(from, to));
    return Promise.all(proof);
  }

  /** Hash of the subtree over the leaves from..to-1, which is one of those into which the tree is split. */
  private async hashOf(from: number, to: number): Promise<Buffer> {
    const size = to - from;
    const height = Math.log2(size);
    if (Number.isInteger(height)) return this.complete(height, from / size);
    const split = from + splitOf(size);
    const [left, right] = await Promise.all([this.hashOf(from, split), this.hashOf(split, to)]);
    return nodeHash(left, right);
  }

  /** Hash of the complete subtree of 2^height leaves with this index among those of its height. */
  private async complete(height: number, index: number): Promise<Buffer> {
    const level = Math.floor(height / TILE_HEIGHT);
    const hashes = 2 ** (height % TILE_HEIGHT);
    const first = index * hashes;
    const tile = Math.floor(first / TILE_WIDTH);
    const inLevel = Math.floor(this.size / TILE_WIDTH ** level);
    const read = await this.read(level, tile, Math.min(TILE_WIDTH, inLevel - tile * TILE_WIDTH));
    const offset = (first % TILE_WIDTH) * HASH_BYTES;
    return perfectRoot(read.subarray(offset, offset + hashes * HASH_BYTES));
  }
}
