import type { FileHandle } from 'node:fs/promises';
import { dirname, isAbsolute } from 'node:path';
import type { ImageBitmap, ImageInfo } from './qemu-img-output.js';

/** QCOW2, versions 2 and 3: https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt */
const MAGIC = 0x514649fb;
const HEADER_BYTES = 104;
const HEADER_BYTES_VERSION_2 = 72;
/** Incompatible features: the two that are reported, and the two that do not affect what is read here. All others are left to qemu. */
const DIRTY = 1n;
const CORRUPT = 2n;
const COMPRESSION_TYPE = 8n;
const EXTENDED_L2 = 16n;
/** Autoclear feature: every writer since has maintained the bitmaps. */
const BITMAPS_KEPT = 1n;
const EXTENSIONS = { end: 0, backingFormat: 0xe2792aca, bitmaps: 0x23852875, externalData: 0x44415441 } as const;
const BITMAP_IN_USE = 1;
const BITMAP_AUTO = 2;
const ENTRY_BYTES = 24;
/** qemu's own limits. */
const LEAST_CLUSTER_BITS = 9;
const MOST_CLUSTER_BITS = 21;
const MAX_BACKING_NAME = 1023;
const MAX_DIRECTORY_BYTES = 64 * 1024 * 1024;

interface Bitmaps {
  readonly count: number;
  readonly at: number;
  readonly bytes: number;
}

/**
 * The information of `qemu-img info --force-share -f qcow2`, without starting it: header and bitmap directory of the file as they are now, even if other
 * programs have it open.
 * @returns null when the image is not fully understood
 * @throws the system's error; Error when the file ends within its header
 */
export async function qcow2InfoOf(file: FileHandle, path: string): Promise<ImageInfo | null> {
  const header = await read(file, 0, HEADER_BYTES);
  const version = header.readUInt32BE(4);
  if (header.readUInt32BE(0) !== MAGIC || (version !== 2 && version !== 3) || header.readUInt32BE(32) !== 0) return null;
  const clusterBits = header.readUInt32BE(20);
  if (clusterBits < LEAST_CLUSTER_BITS || clusterBits > MOST_CLUSTER_BITS) return null;
  const incompatible = version === 2 ? 0n : header.readBigUInt64BE(72);
  if ((incompatible & ~(DIRTY | CORRUPT | COMPRESSION_TYPE | EXTENDED_L2)) !== 0n) return null;
  const backingAt = Number(header.readBigUInt64BE(8));
  const backingLength = header.readUInt32BE(16);
  const clusterBytes = 2 ** clusterBits;
  if (backingAt !== 0 && (backingLength > MAX_BACKING_NAME || backingAt + backingLength > clusterBytes)) return null;
  const extensions = await extensionsOf(file, version === 2 ? HEADER_BYTES_VERSION_2 : header.readUInt32BE(100), backingAt === 0 ? clusterBytes : backingAt);
  if (extensions === null) return null;
  // qemu drops the bitmaps of an image that a program without bitmap support has written to.
  const bitmapsKept = version === 3 && (header.readBigUInt64BE(88) & BITMAPS_KEPT) !== 0n;
  const bitmaps = extensions.bitmaps === null || !bitmapsKept ? [] : await bitmapsOf(file, extensions.bitmaps);
  if (bitmaps === null) return null;
  const backing = backingAt === 0 || backingLength === 0 ? null : (await read(file, backingAt, backingLength)).toString('utf8');
  const virtualSize = Number(header.readBigUInt64BE(24));
  if (!Number.isSafeInteger(virtualSize)) return null;
  // A protocol, such as json:
  if (backing !== null && /^[^/]*:/.test(backing)) return null;
  return {
    format: 'qcow2',
    virtual_size: virtualSize,
    actual_size: (await file.stat()).blocks * 512,
    backing_filename: backing,
    full_backing_filename: backing === null || isAbsolute(backing) ? backing : `${dirname(path)}/${backing}`,
    backing_format: extensions.backingFormat,
    bitmaps,
    dirty: (incompatible & DIRTY) !== 0n,
    corrupt: (incompatible & CORRUPT) !== 0n,
  };
}

async function extensionsOf(
  file: FileHandle,
  from: number,
  to: number,
): Promise<{ readonly backingFormat: string | null; readonly bitmaps: Bitmaps | null } | null> {
  let backingFormat: string | null = null;
  let bitmaps: Bitmaps | null = null;
  for (let at = from; at + 8 <= to;) {
    const head = await read(file, at, 8);
    const type = head.readUInt32BE(0);
    const length = head.readUInt32BE(4);
    if (type === EXTENSIONS.end) break;
    if (type === EXTENSIONS.externalData || at + 8 + length > to) return null;
    const data = await read(file, at + 8, length);
    if (type === EXTENSIONS.backingFormat) backingFormat = data.toString('utf8');
    if (type === EXTENSIONS.bitmaps) {
      if (length !== ENTRY_BYTES) return null;
      bitmaps = { count: data.readUInt32BE(0), bytes: Number(data.readBigUInt64BE(8)), at: Number(data.readBigUInt64BE(16)) };
    }
    at += 8 + roundedUp(length);
  }
  return { backingFormat, bitmaps };
}

/** The directory holds only its entries. */
async function bitmapsOf(file: FileHandle, { count, at, bytes }: Bitmaps): Promise<readonly ImageBitmap[] | null> {
  if (bytes > MAX_DIRECTORY_BYTES) return null;
  const directory = await read(file, at, bytes);
  const found: ImageBitmap[] = [];
  let entry = 0;
  while (entry + ENTRY_BYTES <= bytes) {
    const flags = directory.readUInt32BE(entry + 12);
    const nameLength = directory.readUInt16BE(entry + 18);
    const nameAt = entry + ENTRY_BYTES + directory.readUInt32BE(entry + 20);
    if (nameAt + nameLength > bytes) return null;
    found.push({
      name: directory.toString('utf8', nameAt, nameAt + nameLength),
      granularity: 2 ** directory.readUInt8(entry + 17),
      flags: [...((flags & BITMAP_IN_USE) !== 0 ? ['in-use'] : []), ...((flags & BITMAP_AUTO) !== 0 ? ['auto'] : [])],
    });
    entry += roundedUp(nameAt + nameLength - entry);
  }
  return entry === bytes && found.length === count ? found : null;
}

function roundedUp(length: number): number {
  return Math.ceil(length / 8) * 8;
}

/** @throws Error at the end of the file */
async function read(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, at);
  if (bytesRead < length) throw new Error('the file ends before');
  return buffer;
}
