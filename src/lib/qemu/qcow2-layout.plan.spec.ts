import { describe, expect, it } from '@jest/globals';
import { CLUSTER_BYTES, ClusterMap, dataClusterAt, metadataCluster, namingBacking, type Qcow2Layout, qcow2Layout, runsOf } from './qcow2-layout.plan.js';

const ENTRIES = CLUSTER_BYTES / 8;
/** What one L1 entry covers: 512 MiB. */
const L2_BYTES = ENTRIES * CLUSTER_BYTES;
const COPIED = 2n ** 63n;

/** A disk of so many clusters, of which these hold data. */
function mapOf(clusters: number, ...data: readonly number[]): ClusterMap {
  const map = new ClusterMap(clusters * CLUSTER_BYTES);
  for (const cluster of data) map.addRange(cluster * CLUSTER_BYTES, 1);
  return map;
}

function marked(map: ClusterMap): readonly number[] {
  return Array.from({ length: map.clusters }, (_, cluster) => cluster).filter((cluster) => map.has(cluster));
}

const view = (layout: Qcow2Layout, cluster: number): DataView => new DataView(metadataCluster(layout, cluster).buffer);

describe('the map of a disk', () => {
  it.each([
    ['nothing', 0, 0, []],
    ['the first byte', 0, 1, [0]],
    ['the last byte of a cluster', CLUSTER_BYTES - 1, 1, [0]],
    ['two bytes of two clusters', CLUSTER_BYTES - 1, 2, [0, 1]],
    ['a whole cluster', CLUSTER_BYTES, CLUSTER_BYTES, [1]],
    ['more than the disk', 30 * CLUSTER_BYTES, 9 * CLUSTER_BYTES, [30, 31, 32]],
    ['eight in a row, beginning with the ninth', 8 * CLUSTER_BYTES, 8 * CLUSTER_BYTES, [8, 9, 10, 11, 12, 13, 14, 15]],
    ['seven in a row', 8 * CLUSTER_BYTES, 7 * CLUSTER_BYTES, [8, 9, 10, 11, 12, 13, 14]],
    ['some across two bytes of the map', 6 * CLUSTER_BYTES, 4 * CLUSTER_BYTES, [6, 7, 8, 9]],
  ])('marks the clusters that a range touches: %s', (_what, offset, length, expected) => {
    const map = new ClusterMap(32 * CLUSTER_BYTES + 1);
    map.addRange(offset, length);
    expect(marked(map)).toEqual(expected);
  });

  it('keeps what was marked before', () => {
    expect(marked(mapOf(32, 1, 3, 1, 17))).toEqual([1, 3, 17]);
  });

  it('finds the next cluster with data, and without', () => {
    const map = new ClusterMap(64 * CLUSTER_BYTES);
    map.addRange(20 * CLUSTER_BYTES, 20 * CLUSTER_BYTES);
    expect(map.next(0, true)).toBe(20);
    expect(map.next(20, true)).toBe(20);
    expect(map.next(20, false)).toBe(40);
    expect(map.next(40, true)).toBe(64);
    expect(map.next(0, true, 10)).toBe(10);
    expect(map.next(20, false, 30)).toBe(30);
  });

  it('has its runs in order, cut off where they are asked for', () => {
    const map = mapOf(32, 0, 1, 2, 5, 31);
    expect([...runsOf(map, 0, 32)]).toEqual([
      { first: 0, count: 3 },
      { first: 5, count: 1 },
      { first: 31, count: 1 },
    ]);
    expect([...runsOf(map, 1, 6)]).toEqual([
      { first: 1, count: 2 },
      { first: 5, count: 1 },
    ]);
    expect([...runsOf(map, 6, 31)]).toEqual([]);
  });
});

describe('the layout of an image', () => {
  it('of a disk without data has no L2 table, and one of everything else', () => {
    expect(qcow2Layout(mapOf(16))).toMatchObject({
      refcountTableClusters: 1,
      refcountBlocks: 1,
      l1Entries: 1,
      l1Clusters: 1,
      l2Of: [],
      metadataClusters: 4,
      totalBytes: 4 * CLUSTER_BYTES,
    });
  });

  it('has an L2 table for each 512 MiB that hold data, and none for the others', () => {
    const layout = qcow2Layout(mapOf(3 * ENTRIES, 0, ENTRIES - 1, 2 * ENTRIES));
    expect(layout).toMatchObject({ l1Entries: 3, l2Of: [0, 2], dataBefore: [0, 2, 2, 3], metadataClusters: 6, totalBytes: 9 * CLUSTER_BYTES });
  });

  it('has an L1 entry for a last piece of the disk, however small', () => {
    expect(qcow2Layout(new ClusterMap(L2_BYTES)).l1Entries).toBe(1);
    expect(qcow2Layout(new ClusterMap(L2_BYTES + 1)).l1Entries).toBe(2);
  });

  it('counts the references to its own refcount blocks too', () => {
    /** One refcount block counts so many clusters. */
    const refcounts = CLUSTER_BYTES / 2;
    const layoutOf = (data: number): Qcow2Layout => {
      const map = new ClusterMap(data * CLUSTER_BYTES);
      map.addRange(0, data * CLUSTER_BYTES);
      return qcow2Layout(map);
    };
    // Header, refcount table, refcount block, L1 table and four L2 tables.
    expect(layoutOf(refcounts - 8)).toMatchObject({ refcountBlocks: 1, totalBytes: refcounts * CLUSTER_BYTES });
    expect(layoutOf(refcounts - 7)).toMatchObject({ refcountBlocks: 2, totalBytes: (refcounts + 2) * CLUSTER_BYTES });
  });

  it('finds the clusters with data by their order', () => {
    const layout = qcow2Layout(mapOf(3 * ENTRIES, 1, 2, 9, ENTRIES - 1, 2 * ENTRIES));
    expect([0, 1, 2, 3, 4].map((index) => dataClusterAt(layout, index))).toEqual([1, 2, 9, ENTRIES - 1, 2 * ENTRIES]);
    expect(dataClusterAt(layout, 5)).toBe(3 * ENTRIES);
  });
});

describe('the clusters before the data', () => {
  // 0 header, 1 refcount table, 2 refcount block, 3 L1 table, 4 and 5 L2 tables, 6 to 8 data.
  const layout = qcow2Layout(mapOf(3 * ENTRIES, 1, ENTRIES - 1, 2 * ENTRIES + 7));

  it('begin with a header of version 3 that says where the tables are', () => {
    const header = view(layout, 0);
    expect(header.getUint32(0)).toBe(0x514649fb);
    expect(header.getUint32(4)).toBe(3);
    // No backing file and no encryption.
    expect(header.getBigUint64(8)).toBe(0n);
    expect(header.getUint32(32)).toBe(0);
    expect(header.getUint32(20)).toBe(16);
    expect(header.getBigUint64(24)).toBe(BigInt(3 * L2_BYTES));
    expect(header.getUint32(36)).toBe(3);
    expect(header.getBigUint64(40)).toBe(BigInt(3 * CLUSTER_BYTES));
    expect(header.getBigUint64(48)).toBe(BigInt(CLUSTER_BYTES));
    expect(header.getUint32(56)).toBe(1);
    expect(header.getUint32(96)).toBe(4);
    expect(header.getUint32(100)).toBe(104);
  });

  it('count every cluster of the file as used once, and none behind its end', () => {
    expect(view(layout, 1).getBigUint64(0)).toBe(BigInt(2 * CLUSTER_BYTES));
    expect(view(layout, 1).getBigUint64(8)).toBe(0n);
    const counts = Array.from({ length: 11 }, (_, cluster) => view(layout, 2).getUint16(cluster * 2));
    expect(counts).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
  });

  it('lead from the L1 table to the L2 tables, and from these to the data in the order of the disk', () => {
    const at = (cluster: number, entry: number): bigint => view(layout, cluster).getBigUint64(entry * 8);
    const cluster = (number: number): bigint => COPIED + BigInt(number * CLUSTER_BYTES);
    expect([at(3, 0), at(3, 1), at(3, 2), at(3, 3)]).toEqual([cluster(4), 0n, cluster(5), 0n]);
    expect([at(4, 0), at(4, 1), at(4, 2), at(4, ENTRIES - 1)]).toEqual([0n, cluster(6), 0n, cluster(7)]);
    expect([at(5, 6), at(5, 7), at(5, 8)]).toEqual([0n, cluster(8), 0n]);
  });

  it('say offsets and sizes of more than 32 bits in full', () => {
    const clusters = (5 * 2 ** 30) / CLUSTER_BYTES;
    const map = new ClusterMap(5 * 2 ** 40 + 512);
    map.addRange(5 * (2 ** 40 - 2 ** 30), clusters * CLUSTER_BYTES);
    const large = qcow2Layout(map);
    expect(view(large, 0).getBigUint64(24)).toBe(5n * 2n ** 40n + 512n);
    const lastL2 = large.metadataClusters - 1;
    const offset = BigInt(large.metadataClusters + clusters - 1) * BigInt(CLUSTER_BYTES);
    expect(view(large, lastL2).getBigUint64((ENTRIES - 1) * 8)).toBe(COPIED + offset);
  });

  it('name a backing file of a length that qemu accepts, which is not a protocol', () => {
    const name = '../20260101T000000Z-full-1/disk-0.qcow2';
    const header = metadataCluster(layout, 0);
    namingBacking(header, name);
    const numbers = new DataView(header.buffer);
    const at = Number(numbers.getBigUint64(8));
    expect(Buffer.from(header).toString('latin1', at, at + numbers.getUint32(16))).toBe(name);
    expect([numbers.getUint32(104), numbers.getUint32(108)]).toEqual([0xe2792aca, 5]);
    expect(Buffer.from(header).toString('latin1', 112, 117)).toBe('qcow2');
    for (const refused of ['', 'a'.repeat(1024), 'nbd:host'])
      expect(() => namingBacking(metadataCluster(layout, 0), refused)).toThrow('the name of a backing file');
  });
});
