import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import { requireTools } from '../../../test/support/require-tools.js';
import { ContentDigest } from '../../contract/content-digest.js';
import { FileHasher } from './file-hasher.js';

jest.setTimeout(60_000);
const { describe, it } = requireTools('qemu-img', 'qemu-io');
const run = promisify(execFile);

const KIB = 1024;
const GRAIN = 64 * KIB;
/** Its last cluster is a partial one. */
const DISK = 700 * 1024 * KIB + 5 * KIB;
const key = '5a'.repeat(32);

let folder: string;
const hasher = new FileHasher();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-stored-content-'));
});
afterAll(async () => {
  hasher.onApplicationShutdown();
  await rm(folder, { recursive: true, force: true });
});

/** qemu-io commands, in order. */
async function made(name: string, commands: readonly string[], parent: string | null = null): Promise<string> {
  const path = join(folder, name);
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...(parent === null ? [] : ['-b', parent, '-F', 'qcow2']), path, String(DISK)]);
  // Without a command qemu-io would wait for input.
  if (commands.length > 0) await run('qemu-io', ['-f', 'qcow2', '-d', 'unmap', ...commands.flatMap((command) => ['-c', command]), path]);
  return path;
}

async function digestOf(path: string, onto: 'new' | 'parent' = 'new'): Promise<string | null> {
  const { sha256, content_digest } = await hasher.hashes({ path, content: { key, onto }, blocks: null });
  expect(sha256).toBe(
    createHash('sha256')
      .update(await readFile(path))
      .digest('hex'),
  );
  return content_digest;
}

/** [byte, offset, length] of each run; byte null: zeroes. */
function expectedOf(runs: readonly (readonly [byte: number | null, offset: number, length: number])[]): string {
  const digest = new ContentDigest(key);
  for (const [byte, offset, length] of runs) {
    if (byte === null) digest.addZeroes(offset, length);
    else digest.addData(offset, [Buffer.alloc(length, byte)]);
  }
  return digest.result.digest;
}

const END = Math.floor(DISK / GRAIN) * GRAIN;

describe('the content digest of a QCOW2 file', () => {
  it('covers the runs that were written, in any file order', async () => {
    const runs = [
      [1, 0, 4 * GRAIN],
      [2, 5 * GRAIN, GRAIN],
      [3, 7 * GRAIN, GRAIN],
      [4, 8 * GRAIN, 4 * GRAIN],
      [5, 600 * 1024 * KIB, GRAIN],
      [6, END, DISK - END],
    ] as const;
    const writes = runs.map(([byte, offset, length]) => `write -P ${byte} ${offset} ${length}`);
    const inPieces = writes.flatMap((write, index) => (index === 0 ? [3, 1, 2, 0].map((piece) => `write -P 1 ${piece * GRAIN} ${GRAIN}`) : [write]));
    expect(await digestOf(await made('in-order', writes))).toBe(expectedOf(runs));
    expect(await digestOf(await made('backwards', inPieces.toReversed()))).toBe(expectedOf(runs));
    // Other clusters lie between the clusters of a block, more than are read at once.
    const apart = [`write -P 1 0 ${GRAIN}`, `write -P 4 ${8 * GRAIN} ${4 * GRAIN}`, `write -P 9 64M 3M`, ...writes, 'write -z -u 64M 3M'];
    expect(await digestOf(await made('apart', apart))).toBe(expectedOf(runs));
    expect(await digestOf(await made('empty', []))).toBe(expectedOf([]));
  });

  it('ignores zeroes of a new file, however they are stored', async () => {
    const kept = [
      [1, 0, GRAIN],
      [1, 3 * GRAIN, GRAIN],
    ] as const;
    for (const [name, zeroes] of [
      ['stored', `write -P 0 ${GRAIN} ${2 * GRAIN}`],
      ['flagged', `write -z ${GRAIN} ${2 * GRAIN}`],
      ['freed', `discard ${GRAIN} ${2 * GRAIN}`],
    ] as const) {
      expect(await digestOf(await made(`zeroes-${name}`, [`write -P 1 0 ${4 * GRAIN}`, zeroes]))).toBe(expectedOf(kept));
    }
  });

  it('includes zeroes that hide parent data, however they are stored, and nothing of the parent', async () => {
    const parent = await made('parent', ['write -P 7 0 8M']);
    const runs = [
      [1, GRAIN, GRAIN],
      [null, 2 * GRAIN, 2 * GRAIN],
      [null, 4 * GRAIN, 3 * GRAIN],
    ] as const;
    for (const [name, zeroes] of [
      ['stored', 'write -P 0'],
      ['flagged', 'write -z'],
      ['freed', 'write -z -u'],
    ] as const) {
      const commands = [`${zeroes} ${2 * GRAIN} ${5 * GRAIN}`, `write -P 1 ${GRAIN} ${GRAIN}`];
      expect(await digestOf(await made(`child-${name}`, commands, parent), 'parent')).toBe(expectedOf(runs));
    }
    expect(await digestOf(await made('untouched', [], parent), 'parent')).toBe(expectedOf([]));
  });

  it('changes with any byte, with an added cluster, and with a removed one', async () => {
    const path = await made('altered', ['write -P 1 0 1M']);
    const before = await digestOf(path);
    const { stdout } = await run('qemu-img', ['map', '--output=json', path]);
    const [first] = JSON.parse(stdout) as { readonly offset: number }[];
    const file = await open(path, 'r+');
    for (const at of [0, 400_001, 1024 * KIB - 1]) {
      await file.write(Buffer.from([2]), 0, 1, (first?.offset ?? 0) + at);
      expect(await digestOf(path)).not.toBe(before);
      await file.write(Buffer.from([1]), 0, 1, (first?.offset ?? 0) + at);
    }
    await file.close();
    expect(await digestOf(path)).toBe(before);
    await run('qemu-io', ['-f', 'qcow2', '-c', `write -P 1 100M ${GRAIN}`, path]);
    expect(await digestOf(path)).not.toBe(before);
    await run('qemu-io', ['-f', 'qcow2', '-d', 'unmap', '-c', `discard 100M ${GRAIN}`, path]);
    expect(await digestOf(path)).toBe(before);
    await run('qemu-io', ['-f', 'qcow2', '-d', 'unmap', '-c', `discard 512k ${GRAIN}`, path]);
    expect(await digestOf(path)).not.toBe(before);
  });

  it('is refused for files that are not backup files', async () => {
    const raw = join(folder, 'raw');
    await writeFile(raw, Buffer.alloc(1024 * KIB));
    const compressed = join(folder, 'compressed');
    await run('qemu-img', ['convert', '-c', '-f', 'qcow2', '-O', 'qcow2', await made('plain', ['write -P 1 0 1M']), compressed]);
    const cut = await made('cut', ['write -P 1 0 8M']);
    const handle = await open(cut, 'r+');
    await handle.truncate(1024 * KIB);
    await handle.close();
    for (const path of [raw, compressed, cut]) {
      await expect(hasher.hashes({ path, content: { key, onto: 'new' }, blocks: null })).rejects.toMatchObject({
        name: 'HashingFailedError',
        code: 'qcow2_unreadable',
      });
    }
    expect(await hasher.sha256(raw)).toHaveLength(64);
  });
});
