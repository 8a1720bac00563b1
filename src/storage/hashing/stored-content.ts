import { fstatSync, readSync } from 'node:fs';
import { CONTENT_BLOCK, CONTENT_GRAIN, ContentDigest } from '../../contract/content-digest.js';
import { ABSENT, OwnClusters, QCOW2_CLUSTER_BYTES, readOwnClusters, ZERO } from '../../lib/qemu/qcow2-clusters.reader.js';

/** The content digest to compute of a QCOW2 file, in addition to its SHA-256. */
export interface ContentTask {
  /** The key of the ContentDigest. */
  readonly key: string;
  /** `new`: unwritten parts of the disk read as zeroes, so zeroes are ignored; `parent`: zeroes hide parent data and count. */
  readonly onto: 'new' | 'parent';
}

const PER_BLOCK = CONTENT_BLOCK / CONTENT_GRAIN;
const ZEROES = Buffer.alloc(CONTENT_GRAIN);

/** A run that continues with the next cluster, or ends. */
interface Run {
  readonly offset: number;
  length: number;
  /** null: zeroes. */
  readonly parts: Buffer[] | null;
}

/**
 * Computes the ContentDigest of the clusters that a QCOW2 file stores itself, while the file is read sequentially for hashing, so that it is read once. A disk
 * block is digested when the last of its clusters in the file has been read; earlier ones, which rarely lie elsewhere, are read again.
 */
export class StoredContent {
  private readonly clusters: OwnClusters;
  private readonly digest: ContentDigest;
  /** By cluster number in the file: the disk block whose last cluster it is, counted from 1. */
  private readonly lastOf: Uint32Array;
  private readonly elsewhere = Array.from({ length: PER_BLOCK }, () => Buffer.alloc(CONTENT_GRAIN));

  /** @throws Qcow2UnreadableError */
  constructor(
    private readonly file: number,
    private readonly task: ContentTask,
  ) {
    this.digest = new ContentDigest(task.key);
    this.clusters = readOwnClusters(file);
    this.lastOf = new Uint32Array(Math.ceil(fstatSync(file).size / QCOW2_CLUSTER_BYTES));
    for (const first of this.clusters.firstClusters()) {
      for (let cluster = first; cluster < first + OwnClusters.perTable; cluster += PER_BLOCK) this.expect(cluster / PER_BLOCK);
    }
  }

  /** @param window a part of the file, starting at a cluster boundary; whole clusters except at the end of the file */
  onBytes(position: number, window: Buffer): void {
    const first = position / QCOW2_CLUSTER_BYTES;
    for (let cluster = first; (cluster - first) * QCOW2_CLUSTER_BYTES < window.length; cluster++) {
      const block = this.lastOf[cluster] ?? 0;
      if (block !== 0) this.addBlock(block - 1, position, window);
    }
  }

  get result(): string {
    return this.digest.result.digest;
  }

  private expect(block: number): void {
    let last = ABSENT;
    let zeroes = false;
    for (let cluster = block * PER_BLOCK; cluster < (block + 1) * PER_BLOCK; cluster++) {
      const place = this.clusters.at(cluster);
      if (place === ZERO) zeroes = true;
      else last = Math.max(last, place);
    }
    if (last !== ABSENT) this.lastOf[last] = block + 1;
    else if (zeroes) this.addBlock(block, 0, ZEROES.subarray(0, 0));
  }

  private addBlock(block: number, position: number, window: Buffer): void {
    let run: Run | null = null;
    for (let index = 0; index < PER_BLOCK; index++) {
      const cluster = block * PER_BLOCK + index;
      const offset = cluster * CONTENT_GRAIN;
      const length = Math.min(CONTENT_GRAIN, this.clusters.diskBytes - offset);
      const place = length > 0 ? this.clusters.at(cluster) : ABSENT;
      const bytes = place === ABSENT || place === ZERO ? null : this.bytesAt(place, length, index, position, window);
      const data = bytes !== null && bytes.compare(ZEROES, 0, length) !== 0;
      const counts = place !== ABSENT && (data || this.task.onto === 'parent');
      if (run !== null && (!counts || data !== (run.parts !== null))) {
        this.addRun(run);
        run = null;
      }
      if (!counts) continue;
      run ??= { offset, length: 0, parts: data ? [] : null };
      run.length += length;
      if (bytes !== null) run.parts?.push(bytes);
    }
    if (run !== null) this.addRun(run);
  }

  private addRun({ offset, length, parts }: Run): void {
    if (parts === null) this.digest.addZeroes(offset, length);
    else this.digest.addData(offset, parts);
  }

  private bytesAt(place: number, length: number, index: number, position: number, window: Buffer): Buffer {
    const at = place * QCOW2_CLUSTER_BYTES;
    const from = at - position;
    if (from >= 0 && from + length <= window.length) return window.subarray(from, from + length);
    const buffer = this.elsewhere[index] ?? Buffer.alloc(CONTENT_GRAIN);
    // The file may end within its last cluster; the rest of that reads as zeroes.
    let done = 0;
    for (let bytes = -1; done < length && bytes !== 0; done += bytes) bytes = readSync(this.file, buffer, done, length - done, at + done);
    buffer.fill(0, done, length);
    return buffer.subarray(0, length);
  }
}
