import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { isAlive } from './process-identity.js';
import { runTool } from './run-tool.js';
import { ShellProcessSupervisor } from './shell-process-supervisor.js';
import { currentSpawner, useSpawner } from './spawner.js';

const PARENT = ['node', '-p', 'process.ppid'] as const;

describe('a program that uses a spawner', () => {
  const supervisor = new ShellProcessSupervisor();
  let root: string;
  let directory: string;

  beforeEach(async () => {
    useSpawner();
    root = await mkdtemp(join(tmpdir(), 'sendense-spawner-'));
    directory = join(root, 'run');
  });
  afterEach(async () => {
    await supervisor.stop(directory, 0);
    await rm(root, { recursive: true, force: true });
  });
  afterAll(() => currentSpawner()?.end());

  it('is not the parent of its tools, and gets their output and exit codes', async () => {
    const { stdout } = await runTool(PARENT);
    expect(Number(stdout)).toBeGreaterThan(1);
    expect(Number(stdout)).not.toBe(process.pid);
    expect(await runTool(['sh', '-c', 'echo "$GREETING"; echo bad >&2; exit 2'], { env: { GREETING: 'häl lo' }, expectedExitCodes: [0, 2] })).toEqual({
      stdout: 'häl lo\n',
      stderr: 'bad\n',
      exitCode: 2,
    });
  });

  it('is the parent of a tool that has an input', async () => {
    expect(Number((await runTool(PARENT, { input: 'text' })).stdout)).toBe(process.pid);
  });

  it('gets the errors of tools as if it had started them', async () => {
    await expect(runTool(['sh', '-c', 'echo wrong >&2; exit 3'])).rejects.toMatchObject({
      name: 'ToolError',
      code: 'tool_failed',
      exitCode: 3,
      stderrTail: 'wrong\n',
      message: 'sh ended with exit code 3: wrong',
    });
    await expect(runTool(['no-such-tool'])).rejects.toMatchObject({ code: 'tool_missing', tool: 'no-such-tool' });
    await expect(runTool(['sleep', '60'], { deadlineMs: 50 })).rejects.toMatchObject({ code: 'tool_timeout', retryable: true });
  });

  it('kills a tool with the reason of its signal', async () => {
    const cancelling = new AbortController();
    const running = runTool(['sh', '-c', 'echo $$ >"$0"; exec sleep 60', join(root, 'pid')], { signal: cancelling.signal });
    running.catch(() => undefined);
    let pid = '';
    while (pid === '') pid = await readFile(join(root, 'pid'), 'utf8').catch(() => '');
    cancelling.abort(new Error('no longer wanted'));
    await expect(running).rejects.toThrow('no longer wanted');
    expect(() => process.kill(Number(pid), 0)).toThrow('ESRCH');
    await expect(runTool(['true'], { signal: cancelling.signal })).rejects.toThrow('no longer wanted');
  });

  it('supervises tools that outlive the spawner, and starts a new one', async () => {
    await supervisor.start(directory, ['sh', '-c', 'echo ready; exec sleep 60']);
    const lost = runTool(['sleep', '60']);
    lost.catch(() => undefined);
    const before = Number((await runTool(PARENT)).stdout);
    process.kill(before, 'SIGKILL');
    await expect(lost).rejects.toMatchObject({ code: 'tool_failed', endedBy: 'SIGKILL' });
    expect(Number((await runTool(PARENT)).stdout)).not.toBe(before);
    const status = await supervisor.status(directory);
    if (status.state !== 'running' || status.identity === null) throw new Error(`not running: ${JSON.stringify(status)}`);
    expect(isAlive(status.identity)).toBe(true);
    expect(await supervisor.stop(directory, 5_000)).toBe('SIGTERM');
    expect(isAlive(status.identity)).toBe(false);
  });

  it('learns at once that a supervised tool has ended', async () => {
    await supervisor.start(directory, ['sh', '-c', 'sleep 0.2; exit 5']);
    expect(await supervisor.waitForExit(directory)).toMatchObject({ exitCode: 5 });
    await pause(0);
    await expect(supervisor.start(join(root, 'missing'), ['no-such-tool'])).resolves.toBeUndefined();
    expect(await supervisor.waitForExit(join(root, 'missing'))).toMatchObject({ exitCode: 127 });
  });
});
