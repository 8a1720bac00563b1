import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { identityOf } from './process-identity.js';
import { AlreadyRunningError, ProgramLock, runningProgram } from './program-lock.js';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sendense-lock-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

it('lets one program of a kind use a data directory, and names its process', async () => {
  const lock = await ProgramLock.acquire(folder, 'hub');
  await expect(ProgramLock.acquire(folder, 'hub')).rejects.toThrow(new AlreadyRunningError('hub', folder, process.pid));
  expect(readFileSync(join(folder, 'hub.pid'), 'utf8')).toBe(`${process.pid}\n`);
  expect(runningProgram(folder, 'hub')?.pid).toBe(process.pid);
  lock.release();
});

it('keeps programs of different kinds apart', async () => {
  const locks = [await ProgramLock.acquire(folder, 'hub'), await ProgramLock.acquire(folder, 'node')];
  for (const lock of locks) lock.release();
});

it('is free after release', async () => {
  (await ProgramLock.acquire(folder, 'hub')).release();
  expect(existsSync(join(folder, 'hub.pid'))).toBe(false);
  expect(runningProgram(folder, 'hub')).toBeNull();
  (await ProgramLock.acquire(folder, 'hub')).release();
});

it.each([
  ['a process that is gone', { pid: 4_194_305, start_ticks: '1' }],
  ['another process with the same pid', { pid: process.pid, start_ticks: '1' }],
  ['this process, before the machine was rebooted', { boot_id: 'another' }],
])('takes over from %s', async (_whom, changes) => {
  writeFileSync(join(folder, 'hub.lock'), JSON.stringify({ ...(await identityOf(process.pid)), ...changes }));
  expect(runningProgram(folder, 'hub')).toBeNull();
  const lock = await ProgramLock.acquire(folder, 'hub');
  expect(runningProgram(folder, 'hub')?.pid).toBe(process.pid);
  lock.release();
});

it('takes over a damaged lock', async () => {
  writeFileSync(join(folder, 'hub.lock'), '{"pid":');
  (await ProgramLock.acquire(folder, 'hub')).release();
});

it("does not release another program's lock", async () => {
  const lock = await ProgramLock.acquire(folder, 'hub');
  writeFileSync(join(folder, 'hub.lock'), JSON.stringify({ ...(await identityOf(1)) }));
  lock.release();
  expect(runningProgram(folder, 'hub')?.pid).toBe(1);
});
