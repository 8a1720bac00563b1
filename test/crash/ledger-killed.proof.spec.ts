import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { ledgerCommand } from '../../src/cli/ledger/ledger.program.js';
import { runCommand } from '../../src/cli/terminal/command.js';
import { HubSystem } from '../support/hub-system.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';

jest.setTimeout(180_000);

let database: TestDatabase;
let system: HubSystem;
/** Names the append at which the hub kills itself; absent in between. */
let failpoint: string;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl, env: { SENDENSE_START_LOCAL_NODE: 'false' } });
  failpoint = join(system.directory, 'failpoint');
  await launch();
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

function launch(): Promise<void> {
  return system.launch({ SENDENSE_FAILPOINT: `file:${failpoint}` });
}

async function text(path: string, accept = '*/*'): Promise<string> {
  const answer = await fetch(`${system.url()}/api/v1${path}`, { headers: { authorization: `Bearer ${system.apiToken()}`, accept } });
  expect(answer.status).toBe(200);
  return answer.text();
}

async function key(): Promise<string> {
  return (await system.api<{ key: string }>('GET', '/ledger/key')).body.key;
}

/** Of an export, against the checkpoint of now and those that were kept, by someone who knows only the first key. @returns the exit code */
async function verify(trusted: string, kept: readonly string[]): Promise<number> {
  const files: string[] = [];
  for (const note of [...kept, await text('/ledger/checkpoint')]) {
    files.push(join(system.directory, `kept-${files.length}`));
    await writeFile(files.at(-1) ?? '', note);
  }
  const events = join(system.directory, 'events.ndjson');
  await writeFile(events, await text('/audit/events?order=oldest_first', 'application/x-ndjson'));
  const write = jest.spyOn(process.stdout, 'write').mockReturnValue(true);
  try {
    return await runCommand(ledgerCommand({}), ['verify', '--events', events, '--key', trusted, ...files.flatMap((file) => ['--checkpoint', file])]);
  } finally {
    write.mockRestore();
  }
}

describe('a hub that is killed while it rotates the key of its ledger', () => {
  it('has rotated it or not at its next start, and its history verifies by the first key', async () => {
    const first = await key();
    const kept: string[] = [];
    for (const [moment, hasHappened] of [
      ['before:LedgerKeyRotated:1', false],
      ['after:LedgerKeyRotated:1', true],
    ] as const) {
      kept.push(await text('/ledger/checkpoint'));
      const before = await key();
      await writeFile(failpoint, moment);
      await expect(system.api('POST', '/ledger/rotate-key')).rejects.toThrow('fetch failed');
      expect(await system.ended()).toBeNull();
      expect(await readdir(system.dataDirectory)).toContain('ledger.key.next');

      await rm(failpoint);
      await launch();
      expect((await key()) !== before).toBe(hasHappened);
      expect((await readdir(system.dataDirectory)).filter((name) => name.startsWith('ledger.')).sort()).toEqual(['ledger.checkpoint', 'ledger.key']);
      expect(await verify(first, kept)).toBe(0);
    }
    expect((await system.api('POST', '/ledger/rotate-key')).status).toBe(200);
    expect(await verify(first, kept)).toBe(0);
  });
});
