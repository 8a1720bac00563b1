import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createWriteStream } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { requireTools } from '../../../../../test/support/require-tools.js';
import { GuestArchive, NOTE_NAME } from './guest-archive.js';
import { GuestTree } from './guest-tree.js';

const run = promisify(execFile);

/** Names and modes of a zip, from its central directory. */
function entriesOf(zip: Buffer): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (let at = zip.indexOf('PK\u0001\u0002'); at !== -1; at = zip.indexOf('PK\u0001\u0002', at + 4)) {
    const name = zip.toString('utf8', at + 46, at + 46 + zip.readUInt16LE(at + 28));
    if (found.has(name)) throw new Error(`duplicate entry ${name}`);
    found.set(name, zip.readUInt32LE(at + 38) >>> 16);
  }
  return found;
}

describe('a directory as an archive', () => {
  let work: string;
  let root: string;
  beforeEach(async () => {
    work = await mkdtemp(join(tmpdir(), 'sendense-archive-'));
    root = join(work, 'guest');
    await mkdir(root);
  });
  afterEach(() => rm(work, { recursive: true, force: true }));

  async function archive(format: 'zip' | 'tar.gz'): Promise<string> {
    const file = join(work, `archive.${format}`);
    const made = new GuestArchive(new GuestTree(root), []);
    const output = createWriteStream(file);
    await (format === 'zip' ? made.writeZip(output) : made.writeTarGz(output));
    return file;
  }

  it('has no duplicate names in a zip, so that nothing is unpacked through a link', async () => {
    const folder = Buffer.concat([Buffer.from(`${root}/a`), Buffer.of(0xff)]);
    await mkdir(folder);
    await writeFile(Buffer.concat([folder, Buffer.from('/passwd')]), 'evil');
    await symlink('/etc', join(root, 'a%FF'));
    const entries = entriesOf(await readFile(await archive('zip')));
    const names = [...entries.keys()];
    expect(names.filter((name) => name.replace(/\/$/, '') === 'a%FF')).toHaveLength(1);
    // The first one gets the name; if that is the link, no entry lies beneath it.
    if (names.includes('a%FF')) expect(names.filter((name) => name.startsWith('a%FF/'))).toEqual([]);
    expect(names).toContain(NOTE_NAME);
  });

  requireTools('tar').it('keeps modes except set-user-ID and set-group-ID', async () => {
    await writeFile(join(root, 'su'), 'x');
    await chmod(join(root, 'su'), 0o6755);
    expect((entriesOf(await readFile(await archive('zip'))).get('su') ?? 0) & 0o7777).toBe(0o755);
    expect((await run('tar', ['-tvzf', await archive('tar.gz')])).stdout).toMatch(/^-rwxr-xr-x .* su$/m);
  });
});
