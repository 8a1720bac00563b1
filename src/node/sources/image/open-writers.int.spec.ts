import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { link, mkdir, mkdtemp, realpath, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, jest } from '@jest/globals';
import { until } from '../../../../test/support/hub-system.js';
import { requireCondition, requireTools } from '../../../../test/support/require-tools.js';
import { fileIdentity, findWriters } from './open-writers.js';

jest.setTimeout(60_000);
const run = promisify(execFile);
const { describe } = requireTools('losetup', 'mkfs.btrfs', 'qemu-storage-daemon');
const { it } = requireCondition(process.getuid?.() === 0, 'loop devices and mounts need root');

let directory: string;
/** Undone after each test, in reverse order. */
let undo: (() => Promise<unknown>)[];

beforeEach(async () => {
  directory = await realpath(await mkdtemp(join(tmpdir(), 'sendense-writers-')));
  undo = [];
});

afterEach(async () => {
  for (const step of undo.reverse()) await step();
  await rm(directory, { recursive: true, force: true });
});

async function makeFile(path: string): Promise<string> {
  await writeFile(path, 'some bytes');
  return path;
}

async function identityOf(path: string): Promise<string> {
  return fileIdentity(await stat(path, { bigint: true }));
}

/** A separate program that has the file open; `flags` as for open(). */
async function openElsewhere(path: string, flags: 'r' | 'r+'): Promise<ChildProcess> {
  const script = `require('node:fs').openSync(process.argv[1], process.argv[2]); console.log('open'); process.stdin.resume();`;
  const program = spawn(process.execPath, ['-e', script, path, flags], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(program.stdout, 'data');
  undo.push(async () => {
    const ended = once(program, 'exit');
    program.kill('SIGKILL');
    await ended;
  });
  return program;
}

async function loopDevice(path: string, ...options: string[]): Promise<string> {
  const { stdout } = await run('losetup', ['--find', '--show', ...options, path]);
  const device = stdout.trim();
  undo.push(() => run('losetup', ['--detach', device]));
  return device;
}

async function mount(...args: readonly string[]): Promise<void> {
  await run('mount', args);
  undo.push(() => run('umount', [args.at(-1) ?? '']));
}

describe('findWriters', () => {
  it('finds a program, under any name of the file, but not one that only reads', async () => {
    const [written, read] = [await makeFile(join(directory, 'written')), await makeFile(join(directory, 'read'))];
    await link(written, join(directory, 'other-name'));
    const writer = await openElsewhere(join(directory, 'other-name'), 'r+');
    await openElsewhere(read, 'r');
    const found = await findWriters(new Set([await identityOf(written), await identityOf(read)]));
    expect([...found]).toEqual([[await identityOf(written), expect.stringMatching(`^process ${writer.pid} `)]]);
  });

  it('may rely on a recent scan that found no writer, and never on one that did', async () => {
    const wanted = new Set([await identityOf(await makeFile(join(directory, 'disk')))]);
    await findWriters(wanted);
    await openElsewhere(join(directory, 'disk'), 'r+');
    expect((await findWriters(wanted, 60_000)).size).toBe(0);
    expect((await findWriters(wanted)).size).toBe(1);
    await undo.pop()?.();
    expect((await findWriters(wanted, 60_000)).size).toBe(0);
  });

  it('answers concurrent callers, each for its own files, including for a program that started after the first call', async () => {
    const files = await Promise.all(Array.from({ length: 20 }, (_, index) => makeFile(join(directory, `disk-${index}`))));
    const identities = await Promise.all(files.map(identityOf));
    const before = identities.map((identity) => findWriters(new Set([identity])));
    const writer = await openElsewhere(files[7] ?? '', 'r+');
    const after = await Promise.all(identities.map((identity) => findWriters(new Set([identity]))));
    await Promise.all(before);
    expect(after.map((found) => [...found])).toEqual(
      identities.map((identity, index) => (index === 7 ? [[identity, expect.stringMatching(`^process ${writer.pid} `)]] : [])),
    );
  });

  it('finds a writable loop device, but not a read-only one', async () => {
    const [written, read] = [join(directory, 'written'), join(directory, 'read')];
    for (const path of [written, read]) {
      await makeFile(path);
      await truncate(path, 1024 * 1024);
    }
    const device = await loopDevice(written);
    await loopDevice(read, '--read-only');
    const found = await findWriters(new Set([await identityOf(written), await identityOf(read)]));
    expect([...found]).toEqual([[await identityOf(written), `the writable loop device ${device}`]]);
  });

  it('finds writers in a subvolume of btrfs, whose files have another device than the mount', async () => {
    const image = await makeFile(join(directory, 'btrfs.img'));
    await truncate(image, 128 * 1024 * 1024);
    await run('mkfs.btrfs', ['--quiet', image]);
    const volume = join(directory, 'btrfs');
    await mkdir(volume);
    await mount(await loopDevice(image), volume);
    await run('btrfs', ['subvolume', 'create', join(volume, 'inner')]);
    const file = await makeFile(join(volume, 'inner', 'disk'));
    const writer = await openElsewhere(file, 'r+');
    expect([...(await findWriters(new Set([await identityOf(file)])))]).toEqual([[await identityOf(file), expect.stringMatching(`^process ${writer.pid} `)]]);
  });

  it('finds a program that has the file open through a mount in its own namespace', async () => {
    const file = await makeFile(join(directory, 'disk'));
    const elsewhere = join(directory, 'elsewhere');
    await mkdir(elsewhere);
    const script = 'mount --bind "$1" "$2" && exec tail -f /dev/null 9>>"$2/disk"';
    const program = spawn('unshare', ['--mount', 'bash', '-c', script, 'bash', directory, elsewhere], { stdio: 'inherit' });
    undo.push(async () => {
      const ended = once(program, 'exit');
      program.kill('SIGKILL');
      await ended;
    });
    const found = await until('the writer', async () => {
      const writers = await findWriters(new Set([await identityOf(file)]));
      return [...writers.values()].some((who) => who.endsWith('(tail)')) ? writers : null;
    });
    expect([...found]).toEqual([[await identityOf(file), `process ${program.pid} (tail)`]]);
  });

  it('answers while another file system hangs, with programs and loop devices on it', async () => {
    const file = await makeFile(join(directory, 'disk'));
    const writer = await openElsewhere(file, 'r+');
    const [disk, hung] = [await makeFile(join(directory, 'raw')), await makeFile(join(directory, 'hung'))];
    await truncate(disk, 1024 * 1024);
    const server = spawn(
      'qemu-storage-daemon',
      ['--blockdev', `driver=file,node-name=disk,filename=${disk}`, '--export', `type=fuse,id=export,node-name=disk,mountpoint=${hung},writable=on`],
      { stdio: 'inherit' },
    );
    undo.push(async () => {
      const ended = once(server, 'exit');
      server.kill('SIGCONT');
      server.kill('SIGTERM');
      await ended;
    });
    await until('the hung file', async () => (await stat(hung)).size === 1024 * 1024);
    await loopDevice(hung);
    await openElsewhere(hung, 'r+');
    server.kill('SIGSTOP');
    undo.push(() => Promise.resolve(server.kill('SIGCONT')));
    await until('the kernel to drop its cached attributes of the file', async () => !(await answers(hung)));
    // A hanging call stops this very process, so another process ends the hang; a file system that answers again by then reveals that the call hung.
    const waker = spawn(process.execPath, ['-e', `setTimeout(() => process.kill(${server.pid}, 'SIGCONT'), 10_000)`], { stdio: 'ignore' });
    undo.push(() => Promise.resolve(waker.kill()));
    expect([...(await findWriters(new Set([await identityOf(file)])))]).toEqual([[await identityOf(file), expect.stringMatching(`^process ${writer.pid} `)]]);
    expect(await stateOf(server.pid ?? 0)).toBe('T');
  });
});

async function answers(path: string): Promise<boolean> {
  return run('timeout', ['0.3', 'stat', path]).then(
    () => true,
    () => false,
  );
}

async function stateOf(pid: number): Promise<string> {
  const { stdout } = await run('ps', ['-o', 'state=', '-p', String(pid)]);
  return stdout.trim();
}
