import { type ChildProcess, spawn } from 'node:child_process';
import { chown, mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { makeTemporaryDirectory, temporaryDirectoryPrefix, removeOrphanedDirectories } from './temporary-directory.js';
import { identityOf } from './process-identity.js';
import type { ProcessIdentity } from './process-supervisor.port.js';

let place: string;
let living: ChildProcess;
let dead: ProcessIdentity;

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'passing-'));
  living = spawn('sleep', ['600']);
  const killed = spawn('sleep', ['600']);
  dead = await identityIn(killed);
  const ended = new Promise((resolve) => killed.once('exit', resolve));
  killed.kill('SIGKILL');
  await ended;
});

afterAll(async () => {
  living.kill('SIGKILL');
  await rm(place, { recursive: true, force: true });
});

async function identityIn(child: ChildProcess): Promise<ProcessIdentity> {
  const identity = await identityOf(child.pid ?? 0);
  if (identity === null) throw new Error('the process does not live');
  return identity;
}

async function folder(name: string): Promise<string> {
  await mkdir(join(place, name));
  await writeFile(join(place, name, 'document.xml'), '<domainbackup/>');
  return name;
}

describe('temporary directories', () => {
  it('are removed when their process was killed, and nothing else is removed', async () => {
    const left = await folder(`${temporaryDirectoryPrefix('virsh', dead)}-aaaaaa`);
    const key = await folder(`${temporaryDirectoryPrefix('ssh', { ...dead, boot_id: '00000000-0000-4000-8000-000000000000' })}-aaaaaa`);
    const kept = [
      await folder(`${temporaryDirectoryPrefix('virsh', await identityIn(living))}-bbbbbb`),
      await folder('sendense-virsh-AbCdEf'),
      await folder(`${temporaryDirectoryPrefix('virsh', dead).replace('virsh', 'other')}-cccccc`),
      // Of the same process, but from another pid namespace.
      await folder(`${temporaryDirectoryPrefix('virsh', dead).replace(/\.\d+\.([0-9a-f]{8})$/, '.1.$1')}-dddddd`),
    ];
    const elsewhere = await folder('elsewhere');
    const link = `${temporaryDirectoryPrefix('tunnel', dead)}-eeeeee`;
    await symlink(join(place, elsewhere), join(place, link));
    const foreign = await folder(`${temporaryDirectoryPrefix('tunnel', dead)}-ffffff`);
    if (process.getuid?.() === 0) await chown(join(place, foreign), 65_534, 65_534);
    const ours = makeTemporaryDirectory('tunnel', place);
    expect((await stat(ours)).mode & 0o777).toBe(0o700);
    const now = new Set(await readdir(place));
    expect([left, key].filter((name) => now.has(name))).toEqual([]);
    const foreignStays = process.getuid?.() === 0 ? [foreign] : [];
    expect([...kept, elsewhere, link, ...foreignStays].filter((name) => !now.has(name))).toEqual([]);
    expect(await readdir(join(place, elsewhere))).toEqual(['document.xml']);
    removeOrphanedDirectories(place);
    expect((await stat(ours)).isDirectory()).toBe(true);
    // Including the name of a socket in it.
    expect(Buffer.byteLength(join('/run/sendense-tunnel', ours.slice(place.length), '99.sock'))).toBeLessThan(108);
  });
});
