import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect } from '@jest/globals';
import { requireTools } from '../../../test/support/require-tools.js';
import { ImageMerger } from './image-merger.js';

const run = promisify(execFile);
const { describe, it } = requireTools('qemu-img', 'qemu-io');

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'sendense-merger-'));
});
afterEach(() => rm(root, { recursive: true }));

/** An image of 1 MiB on another one. */
async function image(name: string, below: string | null, ...commands: readonly string[]): Promise<string> {
  const path = join(root, name);
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...(below === null ? [] : ['-b', below, '-F', 'qcow2']), path, '1M']);
  await run('qemu-io', ['-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), path]);
  return path;
}

describe('comparing what stands on the same files', () => {
  it.each([
    { what: 'the same data', one: 'write -P 2 64k 64k', other: 'write -P 2 64k 64k', equal: true },
    { what: 'other data', one: 'write -P 2 64k 64k', other: 'write -P 3 64k 64k', equal: false },
    { what: 'zeroes over data, and nothing', one: 'write -z -u 0 64k', other: 'read 0 64k', equal: false },
    { what: 'zeroes over nothing, and nothing', one: 'write -z -u 512k 64k', other: 'read 0 64k', equal: true },
    { what: 'the data from below, and nothing', one: 'write -P 1 0 64k', other: 'read 0 64k', equal: true },
    { what: 'other data than below, and nothing', one: 'write -P 2 0 64k', other: 'read 0 64k', equal: false },
    { what: 'data, and the same data elsewhere', one: 'write -P 2 512k 64k', other: 'write -P 2 576k 64k', equal: false },
  ])('finds $what', async ({ one, other, equal }) => {
    const below = await image('below', null, 'write -P 1 0 128k');
    const [a, b] = [await image('a', below, one), await image('b', below, other)];
    expect(await new ImageMerger().areEqual([below], [a], [b])).toBe(equal);
  });
});
