import { mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from '@jest/globals';
import { requireTools } from '../../../test/support/require-tools.js';
import type { ImageGraph } from './image-graph.plan.js';
import { QemuImg } from './qemu-img.js';

const MIB = 1024 * 1024;
const qcow2 = (path: string): ImageGraph => ({ path, format: 'qcow2', isDevice: false, backing: null });
const { describe, it } = requireTools('qemu-img');

describe('QemuImg', () => {
  let folder: string;
  const qemuImg = new QemuImg();

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sendense-qemu-img-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it.each([
    'plain.qcow2',
    'with space.qcow2',
    'nbd:host.qcow2',
    'a,b=c.qcow2',
    'json:{}.qcow2',
    'ünï-漢字.qcow2',
    "it's $HOME; rm.qcow2",
    '-f.qcow2',
    'new\nline.qcow2',
  ])('works on a file named %j, and on one backed by it', async (name) => {
    const base = join(folder, name);
    await qemuImg.create({ path: base, sizeBytes: 8 * MIB });
    await mkdir(join(folder, 'next'));
    const beside = join(folder, `on ${name}`);
    const next = join(folder, 'next', name);
    await qemuImg.create({ path: beside, sizeBytes: 8 * MIB, backing: { file: name, format: 'qcow2' } });
    await qemuImg.create({ path: next, sizeBytes: 8 * MIB, backing: { file: `../${name}`, format: 'qcow2' } });
    expect(await qemuImg.info(base)).toMatchObject({
      format: 'qcow2',
      virtual_size: 8 * MIB,
      backing_filename: null,
      bitmaps: [],
      dirty: false,
      corrupt: false,
    });
    expect(await qemuImg.info(next)).toMatchObject({ backing_filename: `../${name}`, backing_format: 'qcow2' });
    expect(await qemuImg.check(beside)).toEqual({ ok: true, errors: 0, leaks: 0, detail: '' });
    expect(await qemuImg.compare(beside, next)).toMatchObject({ identical: true });
  });

  it('adds, shows and removes bitmaps', async () => {
    const path = join(folder, 'disk.qcow2');
    await qemuImg.create({ path, sizeBytes: 8 * MIB });
    await qemuImg.addBitmap(qcow2(path), 'sendense-1', 65536);
    expect((await qemuImg.info(path)).bitmaps).toEqual([{ name: 'sendense-1', granularity: 65536, flags: ['auto'] }]);
    await expect(qemuImg.addBitmap(qcow2(path), 'sendense-1', 65536)).rejects.toMatchObject({ code: 'tool_failed', exitCode: 1 });
    await qemuImg.removeBitmap(qcow2(path), 'sendense-1');
    expect((await qemuImg.info(path)).bitmaps).toEqual([]);
  });

  it('finds damage in an image', async () => {
    const path = join(folder, 'disk.qcow2');
    await qemuImg.create({ path, sizeBytes: 8 * MIB });
    const file = await open(path, 'r+');
    // The refcount block, so that every used cluster counts as free.
    await file.write(Buffer.alloc(4096), 0, 4096, 2 * 65536);
    await file.close();
    const check = await qemuImg.check(path);
    expect(check.ok).toBe(false);
    expect(check.errors).toBeGreaterThan(0);
    expect(check.detail).toContain('errors');
  });

  it('detects different contents', async () => {
    const a = join(folder, 'a.qcow2');
    const b = join(folder, 'b.raw');
    await qemuImg.create({ path: a, sizeBytes: MIB });
    const file = await open(b, 'w');
    await file.truncate(MIB);
    expect(await qemuImg.compare(a, b)).toMatchObject({ identical: true });
    await file.write('x', 4096);
    await file.close();
    expect((await qemuImg.compare(a, b)).identical).toBe(false);
  });

  it('reports the cause for a missing file', async () => {
    await expect(qemuImg.info(join(folder, 'missing'))).rejects.toThrow(/ended with exit code 1.*No such file/s);
  });

  it('refuses a relative path, which qemu could misinterpret', async () => {
    await expect(qemuImg.info('disk.qcow2')).rejects.toThrow('not absolute');
  });
});
