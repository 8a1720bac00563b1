import { mkdir, mkdtemp, open, rm, truncate, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import { requireTools } from '../../../test/support/require-tools.js';
import { until } from '../../../test/support/hub-system.js';
import { ShellProcessSupervisor } from '../process/shell-process-supervisor.js';
import { runTool } from '../process/run-tool.js';
import { writeEmptyQcow2 } from './empty-qcow2.js';
import { qcow2InfoOf } from './qcow2-info.reader.js';
import { type ImageInfo, parseImageInfo } from './qemu-img-output.js';

jest.setTimeout(60_000);
const MIB = 1024 * 1024;
const { describe, it } = requireTools('qemu-img', 'qemu-nbd');

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-qcow2-'));
  await mkdir(join(folder, 'sub'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function made(name: string, ...options: readonly string[]): Promise<string> {
  const path = join(folder, name);
  await runTool(['qemu-img', 'create', '-q', '-f', 'qcow2', ...options, path, '8M']);
  return path;
}

async function bitmap(path: string, ...words: readonly string[]): Promise<void> {
  await runTool(['qemu-img', 'bitmap', ...words.slice(0, -1), path, words.at(-1) ?? '']);
}

async function saidByTool(path: string): Promise<ImageInfo> {
  return parseImageInfo(path, (await runTool(['qemu-img', 'info', '--output=json', '--force-share', '-f', 'qcow2', path])).stdout);
}

/** Sets bits of one byte. */
async function setBits(path: string, at: number, bits: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, at);
    await file.write(Buffer.from([(buffer[0] ?? 0) | bits]), 0, 1, at);
  } finally {
    await file.close();
  }
}

/** null also for files that cannot be opened, or end within their header. */
async function readQcow2Info(path: string): Promise<ImageInfo | null> {
  try {
    const file = await open(path, 'r');
    try {
      return await qcow2InfoOf(file, path);
    } finally {
      await file.close();
    }
  } catch {
    return null;
  }
}

async function setBytes(path: string, at: number, bytes: Buffer): Promise<void> {
  const file = await open(path, 'r+');
  await file.write(bytes, 0, bytes.length, at);
  await file.close();
}

describe('the facts read from an image', () => {
  it('equal those of qemu-img info', async () => {
    const plain = await made('plain ü.qcow2');
    const images = [
      plain,
      await made('small-clusters.qcow2', '-o', 'cluster_size=512,lazy_refcounts=on'),
      await made('large-clusters.qcow2', '-o', 'cluster_size=2M,extended_l2=on'),
      await made('zstd.qcow2', '-o', 'compression_type=zstd'),
      await made('sub/beside.qcow2', '-b', '../plain ü.qcow2', '-F', 'qcow2'),
      await made('absolute.qcow2', '-b', plain, '-F', 'qcow2'),
    ];
    const tracked = await made('tracked.qcow2', '-b', plain, '-F', 'qcow2');
    await bitmap(tracked, '--add', '-g', '65536', 'sendense-a-b.12345678');
    await bitmap(tracked, '--add', '--disable', '-g', '2M', 'of others: ü');
    for (let index = 0; index < 40; index++) await bitmap(tracked, '--add', `many-${index}`);
    const dirty = await made('dirty.qcow2', '-o', 'lazy_refcounts=on');
    await setBits(dirty, 79, 1);
    const corrupt = await made('corrupt.qcow2');
    await setBits(corrupt, 79, 2);
    const bitmapsNotKept = await made('not-kept.qcow2');
    await bitmap(bitmapsNotKept, '--add', 'lost');
    await setBytes(bitmapsNotKept, 88, Buffer.alloc(8));
    const old = await made('old.qcow2', '-o', 'compat=0.10', '-b', plain, '-F', 'qcow2');
    for (const path of [...images, tracked, dirty, corrupt, bitmapsNotKept, old]) expect(await readQcow2Info(path)).toEqual(await saidByTool(path));
    expect((await readQcow2Info(tracked))?.bitmaps).toHaveLength(42);
  });

  it('are the same while a qemu writes to the image, and after it was killed', async () => {
    const path = await made('open.qcow2');
    await bitmap(path, '--add', 'kept');
    const supervisor = new ShellProcessSupervisor();
    const run = join(folder, 'run');
    await supervisor.start(run, ['qemu-nbd', '--persistent', '-f', 'qcow2', '-k', join(folder, 'socket'), path]);
    await until('the bitmap to be in use', async () => (await readQcow2Info(path))?.bitmaps[0]?.flags.includes('in-use'));
    expect(await readQcow2Info(path)).toEqual(await saidByTool(path));
    await supervisor.stop(run, 0);
    expect(await readQcow2Info(path)).toEqual(await saidByTool(path));
  });

  it('are null when only qemu-img can determine them', async () => {
    const cut = await made('cut.qcow2');
    await truncate(cut, 96);
    await writeFile(join(folder, 'other'), Buffer.alloc(4096));
    const others = [
      cut,
      await made('elsewhere.qcow2', '-o', `data_file=${join(folder, 'data')}`),
      await made('protocol.qcow2', '-u', '-b', 'nbd:localhost:1', '-F', 'raw'),
      join(folder, 'other'),
      join(folder, 'missing'),
      folder,
    ];
    for (const path of others) expect([path, await readQcow2Info(path)]).toEqual([path, null]);
  });
});

describe('an empty image', () => {
  it.each([512, 8 * MIB, 513 * MIB, 1024 * 1024 * MIB + 512])('of %d bytes is valid for qemu', async (sizeBytes) => {
    const path = join(folder, 'empty.qcow2');
    await writeEmptyQcow2(path, sizeBytes);
    expect(await saidByTool(path)).toMatchObject({ format: 'qcow2', virtual_size: sizeBytes, backing_filename: null, dirty: false, corrupt: false });
    const { stdout } = await runTool(['qemu-img', 'check', '--output=json', '-f', 'qcow2', path]);
    expect(JSON.parse(stdout)).toMatchObject({ 'check-errors': 0 });
    expect(JSON.parse(stdout)).not.toHaveProperty('leaks');
    const map = JSON.parse((await runTool(['qemu-img', 'map', '--output=json', '-f', 'qcow2', path])).stdout) as readonly object[]; // what qemu-img map prints
    expect(map).toEqual([expect.objectContaining({ start: 0, length: sizeBytes, zero: true, data: false })]);
  });

  it.each(['parent.qcow2', 'with space.qcow2', './nbd:host.qcow2', 'ünï-漢字.qcow2'])('reads as its backing file, named %j', async (name) => {
    const parent = join(folder, name);
    await runTool(['qemu-img', 'create', '-q', '-f', 'qcow2', parent, String(8 * MIB)]);
    await runTool(['qemu-io', '-f', 'qcow2', '-c', 'write -q -P 7 1M 64k', parent]);
    const path = join(folder, 'child.qcow2');
    await writeEmptyQcow2(path, 8 * MIB, name);
    expect(await saidByTool(path)).toMatchObject({ virtual_size: 8 * MIB, backing_filename: name, backing_format: 'qcow2', dirty: false, corrupt: false });
    expect(await readQcow2Info(path)).toEqual(await saidByTool(path));
    await runTool(['qemu-img', 'compare', '-f', 'qcow2', '-F', 'qcow2', path, parent]);
    await runTool(['qemu-io', '-f', 'qcow2', '-c', 'write -q -P 9 3M 64k', path]);
    await runTool(['qemu-img', 'check', '-q', '-f', 'qcow2', path]);
    await runTool(['qemu-io', '-f', 'qcow2', '-c', 'read -q -P 7 1M 64k', '-c', 'read -q -P 9 3M 64k', '-c', 'read -q -P 0 5M 64k', path]);
  });

  it('is rounded up to whole sectors, as qemu-img does', async () => {
    const path = join(folder, 'empty.qcow2');
    await writeEmptyQcow2(path, 1000);
    expect(await saidByTool(path)).toMatchObject({ virtual_size: 1024 });
  });

  it('replaces a file, but is not written through a symbolic link', async () => {
    const path = join(folder, 'empty.qcow2');
    await writeFile(path, Buffer.alloc(MIB, 1));
    await writeEmptyQcow2(path, 8 * MIB);
    await runTool(['qemu-img', 'check', '-q', '-f', 'qcow2', path]);
    await symlink(path, join(folder, 'link'));
    await expect(writeEmptyQcow2(join(folder, 'link'), 8 * MIB)).rejects.toMatchObject({ code: 'ELOOP' });
  });
});
