import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterEach, describe, expect, it, jest } from '@jest/globals';

jest.setTimeout(60_000);

const LOADER = join(import.meta.dirname, '../../../test/bench/typescript.mjs');
const PROGRAM = join(import.meta.dirname, 'program-run.ts');
const LOGGER = join(import.meta.dirname, '../logging/logger.ts');

let program: ChildProcess | null = null;

afterEach(() => {
  if (program?.exitCode === null && program.signalCode === null) program.kill('SIGKILL');
  program = null;
});

/** Runs a service with this body of its `start` until it prints that it is starting. */
async function run(start: string): Promise<{ readonly child: ChildProcess; said(): string }> {
  const source = `
    import { runUntilSignalled } from ${JSON.stringify(PROGRAM)};
    import { loggerFor } from ${JSON.stringify(LOGGER)};
    runUntilSignalled(loggerFor('Test'), async (starting) => { await new Promise(setImmediate); console.log('starting'); ${start} });
    setInterval(() => undefined, 1_000);
  `;
  const child = spawn(process.execPath, ['--import', LOADER, '--input-type=module', '--eval', source], { stdio: ['ignore', 'pipe', 'pipe'] });
  program = child;
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
  while (!text.includes('starting')) {
    if (child.exitCode !== null) throw new Error(`the program ended: ${text}`);
    await once(child.stdout, 'data');
  }
  return { child, said: () => text };
}

async function exitCode(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null) return child.exitCode;
  const [code] = (await once(child, 'exit')) as [number | null];
  return code;
}

describe('a signal', () => {
  it('stops a running service', async () => {
    const { child, said } = await run(`return { stop: async () => console.log('service stopped') };`);
    child.kill('SIGTERM');
    expect(await exitCode(child)).toBe(0);
    expect(said()).toContain('service stopped');
  });

  it('aborts a start that does not finish, and stops everything it has begun', async () => {
    const { child, said } = await run(`
      starting.onGivenUp(async () => console.log('first ended'));
      starting.onGivenUp(async () => console.log('second ended'));
      await new Promise(() => undefined);`);
    child.kill('SIGTERM');
    expect(await exitCode(child)).toBe(0);
    expect(said()).toMatch(/second ended[^]*first ended/);
  });

  it('lets a start finish that is about to, and then stops the service', async () => {
    const { child, said } = await run(`
      await new Promise((resolve) => process.once('SIGTERM', resolve));
      return { stop: async () => console.log('service stopped') };`);
    child.kill('SIGTERM');
    expect(await exitCode(child)).toBe(0);
    expect(said()).toContain('service stopped');
  });
});
