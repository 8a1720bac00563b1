/**
 * The layout of a QCOW2 file (version 3, docs/interop/qcow2.txt of qemu) that is written sequentially: header, refcount table, refcount blocks, L1 table, L2
 * tables, then the data clusters in disk order. Clusters not stored read as zero, or as the backing file. Every metadata cluster can be computed independently, so none has to be kept in memory, however large the disk is.
 */
export const CLUSTER_BYTES = 65_536;
const CLUSTER_BITS = 16;
/** Entries of 8 bytes in one cluster: of the refcount table, the L1 table and an L2 table. */
const ENTRIES = CLUSTER_BYTES / 8;
/** Refcounts have 16 bits. */
const REFCOUNTS = CLUSTER_BYTES / 2;
const REFCOUNT_ORDER = 4;
const HEADER_BYTES = 104;
/** Type of the header extension that holds the format of the backing file. */
const BACKING_FORMAT = 0xe2792aca;
/** qemu's own limit. */
const MAX_BACKING_NAME_BYTES = 1023;
const TWO_TO_32 = 2 ** 32;
/** Of a word of the map, which is searched word by word: a disk of 5 TiB has 84 million clusters. */
const WORD_BITS = 32;
const ALL_BITS = 0xffff_ffff;
/** "The cluster has exactly one reference", in the upper half of an entry. */
const COPIED = 0x8000_0000;

/** The clusters of a disk that hold data: one bit each, so 2 MiB for a disk of 1 TiB. */
export class ClusterMap {
  readonly clusters: number;
  private readonly words: Uint32Array;

  /** diskBytes: the virtual size. */
  constructor(readonly diskBytes: number) {
    this.clusters = Math.ceil(diskBytes / CLUSTER_BYTES);
    this.words = new Uint32Array(Math.ceil(this.clusters / WORD_BITS));
  }

  /** Marks every cluster that the byte range touches. */
  addRange(offset: number, length: number): void {
    if (length <= 0) return;
    const last = Math.min(this.clusters - 1, Math.floor((offset + length - 1) / CLUSTER_BYTES));
    for (let cluster = Math.floor(offset / CLUSTER_BYTES); cluster <= last;) {
      const word = Math.floor(cluster / WORD_BITS);
      const bit = cluster % WORD_BITS;
      if (bit === 0 && cluster + WORD_BITS - 1 <= last) {
        this.words[word] = ALL_BITS;
        cluster += WORD_BITS;
      } else {
        this.words[word] = (this.words[word] ?? 0) | (1 << bit);
        cluster += 1;
      }
    }
  }

  has(cluster: number): boolean {
    return ((this.words[Math.floor(cluster / WORD_BITS)] ?? 0) & (1 << (cluster % WORD_BITS))) !== 0;
  }

  /** The first cluster at or after `from` that has data, or has none; `to` when there is none before it. */
  next(from: number, data: boolean, to = this.clusters): number {
    const boring = data ? 0 : ALL_BITS;
    let cluster = from;
    while (cluster < to) {
      if (cluster % WORD_BITS === 0 && this.words[cluster / WORD_BITS] === boring) cluster = Math.min(to, cluster + WORD_BITS);
      else if (this.has(cluster) === data) return cluster;
      else cluster += 1;
    }
    return to;
  }
}

export interface Qcow2Layout {
  readonly map: ClusterMap;
  readonly refcountTableClusters: number;
  readonly refcountBlocks: number;
  readonly l1Entries: number;
  readonly l1Clusters: number;
  /** For each L1 entry, the number of data clusters before those it covers; one more at the end for the total. */
  readonly dataBefore: readonly number[];
  /** The L1 entries that have an L2 table, in order. */
  readonly l2Of: readonly number[];
  /** Clusters before the first data cluster. */
  readonly metadataClusters: number;
  readonly totalBytes: number;
}

export function qcow2Layout(map: ClusterMap): Qcow2Layout {
  const l1Entries = Math.max(1, Math.ceil(map.clusters / ENTRIES));
  const l1Clusters = Math.ceil(l1Entries / ENTRIES);
  const dataBefore: number[] = [0];
  const l2Of: number[] = [];
  let data = 0;
  for (let entry = 0; entry < l1Entries; entry++) {
    const before = data;
    for (const { count } of runsOf(map, entry * ENTRIES, Math.min(map.clusters, (entry + 1) * ENTRIES))) data += count;
    dataBefore.push(data);
    if (data > before) l2Of.push(entry);
  }
  // Refcounts also count the clusters that hold refcounts.
  let refcountBlocks = 0;
  let refcountTableClusters = 0;
  const metadataSoFar = (): number => 1 + refcountTableClusters + refcountBlocks + l1Clusters + l2Of.length;
  while (refcountBlocks * REFCOUNTS < metadataSoFar() + data) {
    refcountBlocks += 1;
    refcountTableClusters = Math.ceil(refcountBlocks / ENTRIES);
  }
  const metadataClusters = metadataSoFar();
  return {
    map,
    refcountTableClusters,
    refcountBlocks,
    l1Entries,
    l1Clusters,
    dataBefore,
    l2Of,
    metadataClusters,
    totalBytes: (metadataClusters + data) * CLUSTER_BYTES,
  };
}

/** Runs of data clusters, in order. */
export function* runsOf(map: ClusterMap, from: number, to: number): Generator<{ readonly first: number; readonly count: number }> {
  for (let first = map.next(from, true, to); first < to;) {
    const end = map.next(first, false, to);
    yield { first, count: end - first };
    first = map.next(end, true, to);
  }
}

/** One of the clusters before the data. */
export function metadataCluster(layout: Qcow2Layout, cluster: number): Uint8Array {
  const bytes = new Uint8Array(CLUSTER_BYTES);
  const view = new DataView(bytes.buffer);
  const { refcountTableClusters, refcountBlocks, l1Clusters } = layout;
  const firstBlock = 1 + refcountTableClusters;
  const firstL1 = firstBlock + refcountBlocks;
  const firstL2 = firstL1 + l1Clusters;
  if (cluster === 0) writeHeader(view, layout, firstL1);
  else if (cluster < firstBlock) writeRefcountTable(view, layout, (cluster - 1) * ENTRIES, firstBlock);
  else if (cluster < firstL1) writeRefcounts(view, layout, (cluster - firstBlock) * REFCOUNTS);
  else if (cluster < firstL2) writeL1(view, layout, (cluster - firstL1) * ENTRIES, firstL2);
  else writeL2(view, layout, layout.l2Of[cluster - firstL2] ?? 0);
  return bytes;
}

/**
 * Adds the name of a backing file, which is QCOW2, to the first cluster of a layout.
 * @throws Error when the name is too long, or qemu would take it for a protocol
 */
export function namingBacking(header: Uint8Array, name: string): void {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length === 0 || bytes.length > MAX_BACKING_NAME_BYTES) throw new Error(`the name of a backing file has ${bytes.length} bytes: ${name}`);
  if (/^[^/]*:/.test(name)) throw new Error(`the name of a backing file begins like a protocol: ${name}`);
  const format = new TextEncoder().encode('qcow2');
  const view = new DataView(header.buffer, header.byteOffset);
  view.setUint32(HEADER_BYTES, BACKING_FORMAT);
  view.setUint32(HEADER_BYTES + 4, format.length);
  header.set(format, HEADER_BYTES + 8);
  // The format is padded to 8 bytes, and 8 zero bytes end the extensions.
  const nameAt = HEADER_BYTES + 24;
  header.set(bytes, nameAt);
  writeUint64(view, 8, nameAt);
  view.setUint32(16, bytes.length);
}

/** The `index`-th data cluster, from 0; the map's `clusters` past the last one. */
export function dataClusterAt({ map, dataBefore }: Qcow2Layout, index: number): number {
  const entry = dataBefore.findIndex((before) => before > index) - 1;
  if (entry < 0) return map.clusters;
  let left = index - (dataBefore[entry] ?? 0);
  for (const { first, count } of runsOf(map, entry * ENTRIES, Math.min(map.clusters, (entry + 1) * ENTRIES))) {
    if (left < count) return first + left;
    left -= count;
  }
  return map.clusters;
}

function writeHeader(view: DataView, { map, l1Entries, refcountTableClusters }: Qcow2Layout, firstL1: number): void {
  view.setUint32(0, 0x514649fb);
  view.setUint32(4, 3);
  view.setUint32(20, CLUSTER_BITS);
  writeUint64(view, 24, map.diskBytes);
  view.setUint32(36, l1Entries);
  writeUint64(view, 40, firstL1 * CLUSTER_BYTES);
  writeUint64(view, 48, CLUSTER_BYTES);
  view.setUint32(56, refcountTableClusters);
  view.setUint32(96, REFCOUNT_ORDER);
  view.setUint32(100, HEADER_BYTES);
}

function writeRefcountTable(view: DataView, { refcountBlocks }: Qcow2Layout, from: number, firstBlock: number): void {
  for (let entry = from; entry < Math.min(refcountBlocks, from + ENTRIES); entry++) {
    writeUint64(view, (entry - from) * 8, (firstBlock + entry) * CLUSTER_BYTES);
  }
}

function writeRefcounts(view: DataView, { totalBytes }: Qcow2Layout, from: number): void {
  const end = Math.min(totalBytes / CLUSTER_BYTES, from + REFCOUNTS);
  for (let cluster = from; cluster < end; cluster++) view.setUint16((cluster - from) * 2, 1);
}

function writeL1(view: DataView, { l2Of }: Qcow2Layout, from: number, firstL2: number): void {
  for (const [table, entry] of l2Of.entries()) {
    if (entry >= from && entry < from + ENTRIES) writeReference(view, (entry - from) * 8, (firstL2 + table) * CLUSTER_BYTES);
  }
}

function writeL2(view: DataView, { map, dataBefore, metadataClusters }: Qcow2Layout, entry: number): void {
  let at = metadataClusters + (dataBefore[entry] ?? 0);
  const from = entry * ENTRIES;
  for (const { first, count } of runsOf(map, from, Math.min(map.clusters, from + ENTRIES))) {
    for (let cluster = first; cluster < first + count; cluster++) writeReference(view, (cluster - from) * 8, at++ * CLUSTER_BYTES);
  }
}

function writeReference(view: DataView, at: number, offset: number): void {
  view.setUint32(at, (COPIED | Math.floor(offset / TWO_TO_32)) >>> 0);
  view.setUint32(at + 4, offset % TWO_TO_32);
}

function writeUint64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / TWO_TO_32));
  view.setUint32(at + 4, value % TWO_TO_32);
}
