import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import { until } from '../../../test/support/hub-system.js';
import { runTool } from './run-tool.js';

jest.setTimeout(120_000);

/** Lets a separate program import the sources. */
const LOADER = new URL('../../../test/bench/typescript.mjs', import.meta.url).href;

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('runTool', () => {
  it("returns a tool's output, and passes it its input", async () => {
    expect(await runTool(['sh', '-c', 'cat; echo warning >&2'], { input: 'some text' })).toEqual({ stdout: 'some text', stderr: 'warning\n', exitCode: 0 });
  });

  it('names a missing tool', async () => {
    await expect(runTool(['no-such-tool-anywhere', 'x'])).rejects.toMatchObject({
      name: 'ToolError',
      code: 'tool_missing',
      tool: 'no-such-tool-anywhere',
      exitCode: null,
      retryable: false,
    });
  });

  it('does the same for a tool that must end with us, and otherwise treats it like any other', async () => {
    await expect(runTool(['no-such-tool-anywhere'], { endsWithUs: true })).rejects.toMatchObject({ code: 'tool_missing', tool: 'no-such-tool-anywhere' });
    await expect(runTool(['sh', '-c', 'exit 127'], { endsWithUs: true })).rejects.toMatchObject({
      code: 'tool_failed',
      exitCode: 127,
      argv: ['sh', '-c', 'exit 127'],
    });
    expect(await runTool(['cat', '--', '-'], { endsWithUs: true, input: 'text' })).toMatchObject({ stdout: 'text' });
  });

  it('kills a tool that must end with us when we are killed, and no other', async () => {
    const module = JSON.stringify(new URL('./run-tool.ts', import.meta.url).href);
    const file = join(await mkdtemp(join(tmpdir(), 'sendense-run-tool-')), 'pid');
    const program = (endsWithUs: boolean): string =>
      `import { runTool } from ${module}; await runTool(['sh', '-c', 'echo $$ > ${file}; exec sleep 60'], { endsWithUs: ${endsWithUs} });`;
    for (const endsWithUs of [true, false]) {
      const us = spawn(process.execPath, ['--import', LOADER, '--input-type=module', '-e', program(endsWithUs)], { stdio: 'inherit' });
      const tool = await until('the tool to run', async () => Number(await readFile(file, 'utf8').catch(() => '')) || null);
      us.kill('SIGKILL');
      await until('us to be gone', () => Promise.resolve(us.signalCode !== null));
      if (endsWithUs) await until('the tool to be gone', () => Promise.resolve(!isRunning(tool)));
      else expect(isRunning(tool)).toBe(true);
      if (!endsWithUs) process.kill(tool, 'SIGKILL');
      await rm(file);
    }
    await rm(dirname(file), { recursive: true });
  });

  it('fails with exit code, argv and the end of standard error', async () => {
    const script = "process.stderr.write('é'.repeat(5000) + 'the end'); process.exitCode = 3";
    const failure: unknown = await runTool(['node', '-e', script]).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'tool_failed', exitCode: 3, argv: ['node', '-e', script] });
    const { stderrTail } = failure as { stderrTail: string }; // matched above
    expect(stderrTail).toMatch(/^é+the end$/);
    expect(Buffer.byteLength(stderrTail)).toBeLessThanOrEqual(4096);
  });

  it('accepts an exit code that the caller expects', async () => {
    expect(await runTool(['sh', '-c', 'exit 3'], { expectedExitCodes: [0, 3] })).toMatchObject({ exitCode: 3 });
  });

  it('kills a tool at its deadline, even one that ignores SIGTERM', async () => {
    const begun = performance.now();
    await expect(runTool(['sh', '-c', "trap '' TERM; while :; do :; done"], { deadlineMs: 100 })).rejects.toMatchObject({
      code: 'tool_timeout',
      retryable: true,
    });
    expect(performance.now() - begun).toBeLessThan(10_000);
  });

  it('rejects with the reason of the signal that stopped it', async () => {
    const controller = new AbortController();
    const run = runTool(['sleep', '60'], { signal: controller.signal });
    controller.abort(new Error('cancelled'));
    await expect(run).rejects.toThrow('cancelled');
    await expect(runTool(['sleep', '60'], { signal: controller.signal })).rejects.toThrow('cancelled');
  });

  it('passes no secrets of our own environment to a tool', async () => {
    process.env['SENDENSE_API_TOKEN'] = 'secret';
    try {
      expect((await runTool(['env'], { env: { EXTRA: 'x' } })).stdout).toMatch(/EXTRA=x/);
      expect((await runTool(['env'])).stdout).not.toContain('secret');
    } finally {
      delete process.env['SENDENSE_API_TOKEN'];
    }
  });
});
