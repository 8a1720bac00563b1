import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { ApiTokens } from '../../hub/people/tokens/api-tokens.js';
import { runCommand } from '../terminal/command.js';
import { tokenCommand } from './token.program.js';

const EARLIER = 'the-default-token-of-this-test-0123456789';
const NODE = 'the-node-token-of-this-test-0123456789abc';

let directory: string;
let printed: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sendense-tokens-'));
  writeFileSync(join(directory, 'api.token'), `${EARLIER}\n`, { mode: 0o600 });
  printed = '';
  jest.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  jest.spyOn(process.stderr, 'write').mockImplementation(() => true);
});

afterEach(() => {
  jest.restoreAllMocks();
  rmSync(directory, { recursive: true });
});

function exitCode(...argv: string[]): Promise<number> {
  return runCommand(tokenCommand({ SENDENSE_DATA_DIRECTORY: directory }), argv);
}

async function run(...argv: string[]): Promise<string> {
  printed = '';
  expect(await exitCode(...argv)).toBe(0);
  return printed.trim();
}

/** Like a hub that starts now or reloads its files. */
function tokens(): ApiTokens {
  return new ApiTokens({ configured: null, apiTokenFile: join(directory, 'api.token'), tokenListFile: join(directory, 'api-tokens'), nodeToken: NODE });
}

describe('sendense token', () => {
  it('adds named tokens, stores only their digests, and revokes them', async () => {
    const alice = await run('add', 'alice');
    expect(tokens().actorOf(alice)).toBe('api:alice');
    expect(tokens().actorOf(EARLIER)).toBe('api:token');
    expect(tokens().actorOf(`${alice}x`)).toBeNull();
    expect(readFileSync(join(directory, 'api-tokens'), 'utf8')).not.toContain(alice);
    expect(statSync(join(directory, 'api-tokens')).mode & 0o777).toBe(0o600);
    expect(await run('list')).toBe('alice');
    await run('remove', 'alice');
    expect(tokens().actorOf(alice)).toBeNull();
  });

  it('rotates the default token and keeps the old one valid for a while under the same actor, or not at all', async () => {
    await run('rotate', '--keep', '5');
    const next = readFileSync(join(directory, 'api.token'), 'utf8').trim();
    expect([tokens().actorOf(next), tokens().actorOf(EARLIER)]).toEqual(['api:token', 'api:token']);
    await run('rotate');
    expect(tokens().actorOf(next)).toBeNull();
    jest.useFakeTimers({ now: Date.now() + 6 * 60_000 });
    expect(tokens().actorOf(EARLIER)).toBeNull();
    jest.useRealTimers();
  });

  it('takes effect in a running hub', async () => {
    const running = tokens();
    expect(running.actorOf(EARLIER)).toBe('api:token');
    const alice = await run('add', 'alice');
    await run('rotate');
    while (running.actorOf(alice) === null || running.actorOf(EARLIER) !== null) await new Promise((resolve) => setTimeout(resolve, 50));
    expect(running.actorOf(alice)).toBe('api:alice');
  });

  it.each([['add', 'token'], ['add', 'Ä'], ['add', 'a\nb'], ['remove', 'nobody'], ['rotate', '--keep', 'x'], ['nothing']])('refuses %j', async (...argv) => {
    expect(await exitCode(...argv)).not.toBe(0);
    expect(tokens().actorOf(EARLIER)).toBe('api:token');
  });
});
