import { fstatSync, readSync } from 'node:fs';

/** QCOW2, version 3, as `qemu-img create` makes it. */
const MAGIC = 0x514649fb;
const HEADER_BYTES = 104;
const CLUSTER_BITS = 16;
export const QCOW2_CLUSTER_BYTES = 65_536;
/** Entries of an L2 table, which covers 512 MiB of the disk. */
const ENTRIES = QCOW2_CLUSTER_BYTES / 8;
const TWO_TO_32 = 2 ** 32;
const COMPRESSED = 0x4000_0000;
/** The bits of an entry's upper half that belong to the file offset. */
const UPPER_OFFSET = 0x00ff_ffff;
const READS_ZERO = 1;
const MAX_L1_BYTES = 32 * 1024 * 1024;

/** Not in this file: the backing file shows through, or zeroes. */
export const ABSENT = 0;
/** The cluster reads as zeroes without being stored. */
export const ZERO = 0xffff_ffff;

/** The file is not a QCOW2 image of the kind that backups use, or is damaged. */
export class Qcow2UnreadableError extends Error {
  override readonly name = 'Qcow2UnreadableError';
}

/** The clusters of a disk that a QCOW2 file itself stores, and their positions. */
export class OwnClusters {
  constructor(
    /** Virtual size. */
    readonly diskBytes: number,
    /** By table number: for each cluster of the disk the cluster number in the file, ABSENT or ZERO. */
    readonly tables: ReadonlyMap<number, Uint32Array>,
  ) {}

  /** @returns the cluster number in the file, ABSENT or ZERO */
  at(cluster: number): number {
    return this.tables.get(Math.floor(cluster / ENTRIES))?.[cluster % ENTRIES] ?? ABSENT;
  }

  /** The first cluster number of each table, in order. */
  *firstClusters(): Generator<number> {
    for (const table of this.tables.keys()) yield table * ENTRIES;
  }

  static readonly perTable = ENTRIES;
}

/** Reads the tables of a file that nothing writes to; takes 8 bytes of memory per 64 KiB of data. @throws Qcow2UnreadableError */
export function readOwnClusters(file: number): OwnClusters {
  const fileBytes = fstatSync(file).size;
  const header = read(file, 0, HEADER_BYTES);
  if (header.readUInt32BE(0) !== MAGIC || header.readUInt32BE(4) !== 3) throw new Qcow2UnreadableError('it is not a QCOW2 file of version 3');
  if (header.readUInt32BE(20) !== CLUSTER_BITS) throw new Qcow2UnreadableError('its clusters are not of 64 KiB');
  if (header.readUInt32BE(32) !== 0) throw new Qcow2UnreadableError('it is encrypted');
  if (header.readBigUInt64BE(72) !== 0n) throw new Qcow2UnreadableError('it has features that a backup does not use, or is marked as damaged');
  const diskBytes = Number(header.readBigUInt64BE(24));
  const l1Bytes = header.readUInt32BE(36) * 8;
  if (l1Bytes > MAX_L1_BYTES) throw new Qcow2UnreadableError('its L1 table is too large');
  const l1 = read(file, Number(header.readBigUInt64BE(40)), l1Bytes);
  const tables = new Map<number, Uint32Array>();
  for (let entry = 0; entry * 8 < l1Bytes; entry++) {
    const cluster = clusterIn(l1, entry * 8);
    if (cluster !== ABSENT) tables.set(entry, tableOf(read(file, cluster * QCOW2_CLUSTER_BYTES, QCOW2_CLUSTER_BYTES), fileBytes));
  }
  return new OwnClusters(diskBytes, tables);
}

function tableOf(l2: Buffer, fileBytes: number): Uint32Array {
  const table = new Uint32Array(ENTRIES);
  for (let entry = 0; entry < ENTRIES; entry++) {
    const at = entry * 8;
    if ((l2.readUInt32BE(at) & COMPRESSED) !== 0) throw new Qcow2UnreadableError('it holds compressed clusters');
    const cluster = clusterIn(l2, at);
    if (cluster * QCOW2_CLUSTER_BYTES >= fileBytes) throw new Qcow2UnreadableError('it refers to clusters beyond its end');
    table[entry] = (l2.readUInt32BE(at + 4) & READS_ZERO) !== 0 ? ZERO : cluster;
  }
  return table;
}

/** The cluster number that an entry of an L1 or L2 table refers to. */
function clusterIn(table: Buffer, at: number): number {
  const offset = (table.readUInt32BE(at) & UPPER_OFFSET) * TWO_TO_32 + table.readUInt32BE(at + 4);
  return Math.floor(offset / QCOW2_CLUSTER_BYTES);
}

function read(file: number, at: number, length: number): Buffer {
  const buffer = Buffer.alloc(length);
  for (let done = 0; done < length;) {
    const bytes = readSync(file, buffer, done, length - done, at + done);
    if (bytes === 0) throw new Qcow2UnreadableError('it ends before its tables do');
    done += bytes;
  }
  return buffer;
}
