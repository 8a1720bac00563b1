import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { requireKernel } from '../../../test/support/require-tools.js';
import { identityOf, isAlive } from './process-identity.js';
import type { ProcessIdentity } from './process-supervisor.port.js';
import { ShellProcessSupervisor } from './shell-process-supervisor.js';
import { inLongProof } from '../../../test/support/long-proof.js';

const STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
const { it: whereSessionsShare } = requireKernel(
  sessionsShareProcessors() ? null : 'the kernel does not schedule by session, or only root may set session weights',
);
const SCRIPT = fileURLToPath(new URL('./supervise.sh', import.meta.url));

/** See autogroups in sched(7). For users other than root the kernel accepts only ten weight changes a second. */
function sessionsShareProcessors(): boolean {
  try {
    return process.getuid?.() === 0 && readFileSync('/proc/self/autogroup', 'utf8').startsWith('/autogroup-');
  } catch {
    return false;
  }
}

describe('ShellProcessSupervisor', () => {
  let root: string;
  let started: string[];
  const supervisor = new ShellProcessSupervisor();
  const directory = (name = 'run'): string => {
    const path = join(root, name);
    if (!started.includes(path)) started.push(path);
    return path;
  };

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'sendense-supervisor-'));
    started = [];
  });
  afterEach(async () => {
    await Promise.all(started.map((path) => supervisor.stop(path, 0)));
    await rm(root, { recursive: true, force: true });
  });

  async function running(path: string): Promise<ProcessIdentity> {
    const status = await supervisor.status(path);
    if (status.state !== 'running' || status.identity === null) throw new Error(`not running: ${JSON.stringify(status)}`);
    return status.identity;
  }

  async function until(holds: () => Promise<boolean>): Promise<void> {
    while (!(await holds())) await pause(5);
  }

  it('records exit code, standard output, standard error and file descriptor 3 of a process', async () => {
    await supervisor.start(directory(), ['sh', '-c', 'echo out; echo "$GREETING" >&2; echo 50/100 >&3; exit 7'], {
      captureFd3: true,
      env: { GREETING: 'häl lo' },
    });
    expect(await supervisor.waitForExit(directory())).toEqual({ state: 'exited', exitCode: 7, stderr: 'häl lo\n', stopRequested: false });
    expect(await readFile(join(directory(), 'stdout'), 'utf8')).toBe('out\n');
    expect(await readFile(join(directory(), 'fd3'), 'utf8')).toBe('50/100\n');
  });

  it('passes arguments unchanged, whatever they contain', async () => {
    const odd = ['a b', '$(touch x)', "'", '"', '*', '', '-n', 'ünï\ncode', ';'];
    await supervisor.start(directory(), ['node', '-e', 'process.stdout.write(JSON.stringify(process.argv.slice(1)))', '--', ...odd]);
    await supervisor.waitForExit(directory());
    expect(JSON.parse(await readFile(join(directory(), 'stdout'), 'utf8'))).toEqual(odd);
  });

  it('lets a background tool yield to others', async () => {
    await supervisor.start(directory(), ['nice'], { background: true });
    await supervisor.waitForExit(directory());
    expect(Number(await readFile(join(directory(), 'stdout'), 'utf8'))).toBeGreaterThan(0);
  });

  whereSessionsShare('lets the session of a background tool yield to other sessions', async () => {
    await supervisor.start(directory(), ['cat', '/proc/self/autogroup'], { background: true });
    await supervisor.waitForExit(directory());
    expect(await readFile(join(directory(), 'stdout'), 'utf8')).toMatch(/ nice 5$/m);
  });

  it('kills processes that a tool has started and left behind', async () => {
    await supervisor.start(directory(), ['sh', '-c', 'sleep 600 & echo $!']);
    await supervisor.waitForExit(directory());
    const pid = Number(await readFile(join(directory(), 'stdout'), 'utf8'));
    expect(pid).toBeGreaterThan(1);
    await until(async () => (await identityOf(pid)) === null);
  });

  it('passes no secrets of our own environment to a tool', async () => {
    process.env['SENDENSE_API_TOKEN'] = 'secret';
    try {
      await supervisor.start(directory(), ['env']);
    } finally {
      delete process.env['SENDENSE_API_TOKEN'];
    }
    await supervisor.waitForExit(directory());
    expect(await readFile(join(directory(), 'stdout'), 'utf8')).not.toContain('secret');
  });

  it('starts a process once, however often it is asked, even concurrently and by several instances', async () => {
    const log = join(root, 'log');
    const argv = ['sh', '-c', `echo started >>${log}; exec sleep 60`] as const;
    const others = Array.from({ length: 5 }, () => new ShellProcessSupervisor());
    await Promise.all(others.map((other) => other.start(directory(), argv)));
    await supervisor.start(directory(), argv);
    await until(async () => (await readFile(log, 'utf8').catch(() => '')) !== '');
    expect(await readFile(log, 'utf8')).toBe('started\n');
  });

  it('reports a missing tool as exited with 127', async () => {
    await supervisor.start(directory(), ['no-such-tool-anywhere', 'x']);
    const exited = await supervisor.waitForExit(directory());
    expect(exited.exitCode).toBe(127);
    expect(exited.stderr).toContain('no-such-tool-anywhere: not found');
  });

  it('reports a missing run directory as absent', async () => {
    expect(await supervisor.status(directory())).toEqual({ state: 'absent' });
    expect(await supervisor.stop(directory(), 100)).toBe('none');
    await supervisor.forget(directory());
  });

  it('ends a process with SIGTERM', async () => {
    await supervisor.start(directory(), ['sleep', '60']);
    const identity = await running(directory());
    expect(await supervisor.stop(directory(), 60_000)).toBe('SIGTERM');
    expect(isAlive(identity)).toBe(false);
    expect(await supervisor.status(directory())).toMatchObject({ state: 'exited', exitCode: 143, stopRequested: true });
    expect(await supervisor.stop(directory(), 5_000)).toBe('none');
  });

  it('kills a process that ignores SIGTERM', async () => {
    await supervisor.start(directory(), ['sh', '-c', STUBBORN]);
    await until(async () => (await readFile(join(directory(), 'stdout'), 'utf8').catch(() => '')) === 'ready\n');
    expect(await supervisor.stop(directory(), 150)).toBe('SIGKILL');
    expect(await supervisor.status(directory())).toMatchObject({ state: 'exited', exitCode: 137, stopRequested: true });
  });

  it('notices immediately that a process was killed, even in an instance that did not start it', async () => {
    await supervisor.start(directory(), ['sleep', '60']);
    const adopter = new ShellProcessSupervisor();
    const waits = Promise.all([supervisor.waitForExit(directory()), adopter.waitForExit(directory())]);
    const identity = await running(directory());
    const killed = performance.now();
    process.kill(identity.pid, 'SIGKILL');
    expect((await waits).map((exited) => exited.exitCode)).toEqual([137, 137]);
    // 250 ms are promised, but not on a machine whose cores are all busy with other tests.
    expect(performance.now() - killed).toBeLessThan(5_000);
  });

  it('still knows the process after its shell was killed, but not its exit code', async () => {
    await supervisor.start(directory(), ['sleep', '60']);
    const identity = await running(directory());
    const shell = Number((await readFile(join(directory(), 'claim'), 'utf8')).split(' ')[0]);
    process.kill(shell, 'SIGKILL');
    await until(async () => (await identityOf(shell)) === null);
    expect(await supervisor.status(directory())).toEqual({ state: 'running', identity });
    const exited = supervisor.waitForExit(directory());
    process.kill(identity.pid, 'SIGKILL');
    expect(await exited).toMatchObject({ state: 'exited', exitCode: null });
  });

  it('adopts a process whose starter was killed before it knew of it', async () => {
    const path = directory();
    await mkdir(path);
    // The state left by a starter that dies right after the spawn: a shell starting up, and nothing waiting for it.
    spawn('sh', [SCRIPT, path, '0', 'sleep', '60'], { detached: true, stdio: 'ignore' }).unref();
    await supervisor.start(path, ['sleep', '60']);
    const identity = await running(path);
    // Empty for a moment while the shell becomes the program.
    let command = '';
    while (command === '') command = await readFile(`/proc/${identity.pid}/cmdline`, 'utf8');
    expect(command).toContain('sleep');
  });

  it('starts nothing after a stop, even if the shell was already starting', async () => {
    const path = directory();
    await mkdir(path);
    expect(await supervisor.stop(path, 1_000)).toBe('none');
    const shell = spawn('sh', [SCRIPT, path, '0', 'touch', join(root, 'ran')], { detached: true, stdio: 'ignore' });
    await new Promise((resolve) => shell.once('exit', resolve));
    await expect(stat(join(root, 'ran'))).rejects.toThrow('ENOENT');
    expect(await supervisor.status(path)).toMatchObject({ state: 'exited', stopRequested: true });
  });

  it('does not mistake another process with the same pid for its own', async () => {
    await supervisor.start(directory(), ['sleep', '60']);
    const identity = await running(directory());
    expect(isAlive({ ...identity, start_ticks: '1' })).toBe(false);
    expect(isAlive({ ...identity, boot_id: 'of-another-boot' })).toBe(false);
    expect(isAlive(identity)).toBe(true);
  });

  it('keeps only the end of a long standard error', async () => {
    await supervisor.start(directory(), ['node', '-e', "process.stderr.write('é'.repeat(5000) + 'the end'); process.exit(3)"]);
    const exited = await supervisor.waitForExit(directory());
    expect(Buffer.byteLength(exited.stderr)).toBeLessThanOrEqual(4096);
    expect(exited.stderr).toMatch(/^é+the end$/);
  });

  it('forgets an ended process, and refuses while it runs', async () => {
    await supervisor.start(directory(), ['sleep', '60']);
    await expect(supervisor.forget(directory())).rejects.toThrow('while its process runs');
    await supervisor.stop(directory(), 1_000);
    await supervisor.forget(directory());
    expect(await supervisor.status(directory())).toEqual({ state: 'absent' });
  });

  it('stops waiting when aborted', async () => {
    await supervisor.start(directory(), ['sleep', '60']);
    const controller = new AbortController();
    const wait = supervisor.waitForExit(directory(), controller.signal);
    controller.abort(new Error('enough'));
    await expect(wait).rejects.toThrow('enough');
  });

  it('ignores a half-written exit code', async () => {
    await supervisor.start(directory(), ['sleep', '60']);
    await writeFile(join(directory(), 'exit_code'), '1');
    expect((await supervisor.status(directory())).state).toBe('running');
  });

  inLongProof(() => {
    it('starts, watches and stops a hundred processes at once', async () => {
      const paths = Array.from({ length: 101 }, (_, index) => directory(`many-${index}`));
      const begun = performance.now();
      await Promise.all(paths.map((path) => supervisor.start(path, ['sleep', '60'])));
      process.stderr.write(`101 starts: ${Math.round(performance.now() - begun)} ms\n`);
      const waits = paths.map((path) => supervisor.waitForExit(path));
      const stopping = performance.now();
      await Promise.all(paths.map((path) => supervisor.stop(path, 5_000)));
      process.stderr.write(`101 stops: ${Math.round(performance.now() - stopping)} ms\n`);
      expect((await Promise.all(waits)).every((exited) => exited.exitCode === 143)).toBe(true);
    }, 120_000);
  });
});
