import { createInterface } from 'node:readline';
import { type DiskSlice, sliceArgv } from './disk-stream.plan.js';
import { streamTool } from '../../../lib/process/stream-tool.js';
import { imageFileName, type ImageChain } from '../../../lib/qemu/image-chain.plan.js';
import { CLUSTER_BYTES, ClusterMap, dataClusterAt, metadataCluster, type Qcow2Layout, qcow2Layout, runsOf } from '../../../lib/qemu/qcow2-layout.plan.js';

/** A disk as one file of known length. Any part can be generated on demand, without staging. */
export interface DownloadableDisk {
  readonly bytes: number;
  /**
   * The bytes of this part of the file, in order. Memory use does not depend on its size.
   * @throws ToolError when the disk cannot be read; or the signal's reason
   */
  read(start: number, length: number, signal: AbortSignal): AsyncGenerator<Uint8Array>;
}

/** Holes up to this size are read and discarded, which is faster than starting another reader after them. */
const READ_THROUGH_CLUSTERS = 1024;

/** diskBytes: as the guest sees it. */
export function rawDownload(chain: ImageChain, diskBytes: number): DownloadableDisk {
  return {
    bytes: diskBytes,
    read: (start, length, signal) => readSlice(chain, { start, end: start + length - 1 }, diskBytes, signal),
  };
}

/**
 * One QCOW2 file without a backing file. Unallocated and zero clusters are not stored.
 * @throws ToolError when the chain cannot be read
 */
export async function qcow2Download(chain: ImageChain, diskBytes: number, signal: AbortSignal): Promise<DownloadableDisk> {
  const layout = qcow2Layout(await dataClusters(chain, diskBytes, signal));
  return { bytes: layout.totalBytes, read: (start, length, whileReading) => readQcow2(chain, layout, start, length, whileReading) };
}

async function* readQcow2(chain: ImageChain, layout: Qcow2Layout, start: number, length: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const end = start + length;
  const dataAt = layout.metadataClusters * CLUSTER_BYTES;
  let at = start;
  while (at < Math.min(end, dataAt)) {
    const within = at % CLUSTER_BYTES;
    const piece = metadataCluster(layout, Math.floor(at / CLUSTER_BYTES)).subarray(within, within + end - at);
    yield piece;
    at += piece.length;
  }
  if (at >= end) return;
  let skip = (at - dataAt) % CLUSTER_BYTES;
  for await (const chunk of readData(chain, layout, Math.floor((at - dataAt) / CLUSTER_BYTES), signal)) {
    const piece = chunk.subarray(Math.min(skip, chunk.length)).subarray(0, end - at);
    skip -= Math.min(skip, chunk.length);
    if (piece.length > 0) yield piece;
    at += piece.length;
    if (at >= end) return;
  }
}

/** Clusters with data from the `index`-th on; the last one is padded with zeroes. */
async function* readData(chain: ImageChain, layout: Qcow2Layout, index: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const { map } = layout;
  for (let first = dataClusterAt(layout, index); first < map.clusters;) {
    const behind = endOfStretch(map, first);
    const start = first * CLUSTER_BYTES;
    const end = Math.min(map.diskBytes, behind * CLUSTER_BYTES);
    let at = start;
    for await (const chunk of readSlice(chain, { start, end: end - 1 }, map.diskBytes, signal)) {
      yield* withData(map, chunk, at);
      at += chunk.length;
    }
    const padding = behind * CLUSTER_BYTES - end;
    if (padding > 0) yield new Uint8Array(padding);
    first = map.next(behind, true);
  }
}

/** End (exclusive) of the clusters read by one reader. */
function endOfStretch(map: ClusterMap, first: number): number {
  let end = map.next(first, false);
  for (let next = map.next(end, true); next < map.clusters && next - end <= READ_THROUGH_CLUSTERS; next = map.next(end, true)) end = map.next(next, false);
  return end;
}

/** The parts of a chunk that lie in clusters with data. The chunk begins at byte `at` of the disk. */
function* withData(map: ClusterMap, chunk: Uint8Array, at: number): Generator<Uint8Array> {
  const last = Math.ceil((at + chunk.length) / CLUSTER_BYTES);
  for (const { first, count } of runsOf(map, Math.floor(at / CLUSTER_BYTES), last)) {
    yield chunk.subarray(Math.max(0, first * CLUSTER_BYTES - at), (first + count) * CLUSTER_BYTES - at);
  }
}

async function* readSlice(chain: ImageChain, slice: DiskSlice, diskBytes: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const { argv, skip } = sliceArgv(chain, slice, diskBytes);
  const enough = new AbortController();
  const { stdout, ended } = streamTool(argv, AbortSignal.any([signal, enough.signal]));
  let before = skip;
  let left = slice.end - slice.start + 1;
  try {
    for await (const read of stdout) {
      // A stream without an encoding yields buffers.
      const chunk = read as Buffer;
      const piece = chunk.subarray(Math.min(before, chunk.length)).subarray(0, left);
      before -= Math.min(before, chunk.length);
      left -= piece.length;
      if (piece.length > 0) yield piece;
    }
    await ended;
  } finally {
    enough.abort(new Error('enough was read'));
  }
  if (left > 0) throw new Error(`${chain.at(-1) ?? ''} ended ${left} bytes early`);
}

async function dataClusters(chain: ImageChain, diskBytes: number, signal: AbortSignal): Promise<ClusterMap> {
  const map = new ClusterMap(diskBytes);
  const { stdout, ended } = streamTool(['qemu-img', 'map', '--output=json', imageFileName(chain)], signal);
  for await (const line of createInterface({ input: stdout })) {
    // One extent per line, so that millions of them need not be kept in memory.
    const [, start, length, zero, data] = /"start": (\d+), "length": (\d+), .*"zero": (true|false), "data": (true|false)/.exec(line) ?? [];
    if (start === undefined && line.includes('{')) throw new Error(`cannot parse the output of qemu-img map: ${line.slice(0, 200)}`);
    if (data === 'true' && zero === 'false') map.addRange(Number(start), Number(length));
  }
  await ended;
  return map;
}
