import { execFile } from 'node:child_process';
import { mkdtemp, open, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect } from '@jest/globals';
import { requireTools } from '../../../../test/support/require-tools.js';
import { type DownloadableDisk, qcow2Download, rawDownload } from './disk-download.js';
import type { ImageChain } from '../../../lib/qemu/image-chain.plan.js';
import { QemuImg } from '../../../lib/qemu/qemu-img.js';
import { CLUSTER_BYTES, ClusterMap, metadataCluster, qcow2Layout } from '../../../lib/qemu/qcow2-layout.plan.js';

const MIB = 1024 * 1024;
const run = promisify(execFile);
const { describe, it } = requireTools('qemu-img', 'qemu-io', 'qemu-nbd', 'nbdcopy');
const forever = new AbortController().signal;
const SOUND = { ok: true, errors: 0, leaks: 0, detail: '' };

describe('a disk as a download', () => {
  let folder: string;
  let disk: string;
  const qemuImg = new QemuImg();

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sendense-disk-download-'));
    disk = join(folder, 'disk.qcow2');
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const io = (file: string, ...commands: readonly string[]) => run('qemu-io', ['-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), file]);

  async function bytesOf(download: DownloadableDisk, start = 0, length = download.bytes - start): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of download.read(start, length, forever)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  async function requireSound(sizeBytes: number, chain: ImageChain = [disk]): Promise<{ readonly download: DownloadableDisk; readonly whole: Buffer }> {
    const download = await qcow2Download(chain, sizeBytes, forever);
    const whole = await bytesOf(download);
    expect(whole.length).toBe(download.bytes);
    const copy = join(folder, 'copy.qcow2');
    await writeFile(copy, whole);
    expect(await qemuImg.check(copy)).toEqual(SOUND);
    expect(await qemuImg.info(copy)).toMatchObject({ format: 'qcow2', virtual_size: sizeBytes, backing_filename: null });
    expect(await qemuImg.compare(copy, disk)).toMatchObject({ identical: true });
    return { download, whole };
  }

  it.each([
    ['with holes and zero clusters', 64 * MIB, ['write -P 1 0 64k', 'write -z 1M 1M', 'write -P 2 5M 3M', 'write -P 0 20M 1M', 'write -P 3 63M 1M']],
    ['whose size is no multiple of a cluster', 10 * MIB + 3 * 512, ['write -P 7 10M 1536', 'write -P 8 1k 512']],
    ['that is empty', 30 * MIB, []],
    ['that is full', 4 * MIB, ['write -P 9 0 4M']],
    ['with data far apart, under several tables', 3072 * MIB, ['write -P 4 70k 1k', 'write -P 5 1500M 200k', 'write -P 6 3071M 1M']],
  ] as const)('%s is a valid qcow2 file with the same content', async (_what, size, commands) => {
    await qemuImg.create({ path: disk, sizeBytes: size });
    if (commands.length > 0) await io(disk, ...commands);
    await requireSound(size);
  });

  it('of an incremental includes its backing data, even where it was zeroed or grown, and any part can be read', async () => {
    const base = join(folder, 'base.qcow2');
    await qemuImg.create({ path: base, sizeBytes: 8 * MIB });
    await io(base, 'write -P 1 0 6M');
    await qemuImg.create({ path: disk, sizeBytes: 12 * MIB, backing: { file: base, format: 'qcow2' } });
    await io(disk, 'write -z 1M 1M', 'write -P 2 3M 100k', 'write -P 3 11M 1M');
    const { download, whole } = await requireSound(12 * MIB, [base, disk]);
    expect(download.bytes).toBeLessThan(8 * MIB);
    for (const [start, length] of [
      [0, 10],
      [CLUSTER_BYTES - 5, 3 * CLUSTER_BYTES],
      [download.bytes - 2 * MIB - 77, MIB + 5],
      [download.bytes - 1, 1],
    ] as const) {
      expect((await bytesOf(download, start, length)).equals(whole.subarray(start, start + length))).toBe(true);
    }
    const raw = join(folder, 'copy.raw');
    await writeFile(raw, await bytesOf(rawDownload([base, disk], 12 * MIB)));
    await run('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', join(folder, 'copy.qcow2'), raw]);
  });

  it('of hundreds of GiB has tables that qemu accepts', async () => {
    const size = 300 * 1024 * MIB + 512;
    const map = new ClusterMap(size);
    // Long runs, lone clusters, and a hole of many tables.
    map.addRange(0, 90 * 1024 * MIB);
    for (let at = 200 * 1024; at < 210 * 1024; at += 3) map.addRange(at * MIB, 1);
    map.addRange(size - 1, 1);
    const layout = qcow2Layout(map);
    expect(layout.refcountBlocks).toBeGreaterThan(40);
    const file = join(folder, 'tables.qcow2');
    const tables = await open(file, 'w');
    for (let cluster = 0; cluster < layout.metadataClusters; cluster++) await tables.write(metadataCluster(layout, cluster));
    await tables.close();
    await truncate(file, layout.totalBytes);
    expect(await qemuImg.check(file)).toEqual(SOUND);
    expect(await qemuImg.info(file)).toMatchObject({ virtual_size: size });
    expect((await stat(file)).size).toBe(layout.totalBytes);
  });

  it('fails instead of ending early when the disk cannot be read', async () => {
    await qemuImg.create({ path: disk, sizeBytes: 8 * MIB });
    await io(disk, 'write -P 1 0 8M');
    const download = await qcow2Download([disk], 8 * MIB, forever);
    await rm(disk);
    await expect(bytesOf(download)).rejects.toThrow();
    await expect(qcow2Download([join(folder, 'missing.qcow2')], MIB, forever)).rejects.toMatchObject({ code: 'tool_failed' });
  });
});
