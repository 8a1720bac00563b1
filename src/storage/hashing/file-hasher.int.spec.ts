import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { FileHasher } from './file-hasher.js';

describe('FileHasher', () => {
  let folder: string;
  const hasher = new FileHasher();

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sendense-hasher-'));
  });
  afterAll(async () => {
    hasher.onApplicationShutdown();
    await rm(folder, { recursive: true, force: true });
  });

  it('hashes files of any length, more of them than there are processes', async () => {
    const contents = [0, 1, 1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1, 5_000_000].map((length) => randomBytes(length));
    const paths = contents.map((_, index) => join(folder, `file ${index} ü`));
    await Promise.all(paths.map((path, index) => writeFile(path, contents[index] ?? '')));
    expect(await Promise.all(paths.map((path) => hasher.sha256(path)))).toEqual(contents.map((content) => createHash('sha256').update(content).digest('hex')));
  });

  it('names an unreadable file, and continues with others', async () => {
    await expect(hasher.sha256(join(folder, 'missing'))).rejects.toMatchObject({ name: 'HashingFailedError', code: 'ENOENT', path: join(folder, 'missing') });
    await writeFile(join(folder, 'empty'), '');
    expect(await hasher.sha256(join(folder, 'empty'))).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  });

  it('stops in the middle of a file when aborted, and is free for the next', async () => {
    const controller = new AbortController();
    const endless = hasher.sha256('/dev/zero', controller.signal);
    const waiting = Array.from({ length: 4 }, () => hasher.sha256('/dev/zero', controller.signal));
    controller.abort(new Error('cancelled'));
    await expect(endless).rejects.toThrow('cancelled');
    for (const one of waiting) await expect(one).rejects.toThrow('cancelled');
    await writeFile(join(folder, 'one'), 'x');
    expect(await hasher.sha256(join(folder, 'one'))).toHaveLength(64);
  });

  it('leaves the main thread free', async () => {
    const controller = new AbortController();
    const endless = hasher.sha256('/dev/zero', controller.signal);
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    controller.abort(new Error('cancelled'));
    await expect(endless).rejects.toThrow('cancelled');
  });
});
