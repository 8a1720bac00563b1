import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const ENTRY = join(import.meta.dirname, '../../dist/src/cli/main.cli.js');
const PATIENCE_MS = 60_000;

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-deploy-program-'));
  await writeFile(join(folder, 'api.token'), 'a-token-of-the-hub-that-is-long\n');
  await writeFile(join(folder, 'hub.url'), 'http://127.0.0.1:9\n');
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

async function sendense(...argv: readonly string[]): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  const env = { PATH: process.env['PATH'], HOME: folder, SENDENSE_DATA_DIRECTORY: folder };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [ENTRY, 'node', ...argv], { env, timeout: PATIENCE_MS }, (error, stdout, stderr) => {
      const code = error?.code ?? 0;
      if (typeof code === 'number') resolve({ code, stdout, stderr });
      else reject(error ?? new Error('it cannot be run'));
    });
  });
}

describe('sendense node deploy', () => {
  it.each([
    ['without a host', ['deploy'], "missing required argument '[user@]host'"],
    ['with two hosts', ['deploy', 'one', 'two'], 'too many arguments'],
    ['with a port that is none', ['deploy', 'host', '--port', '70000'], 'It must be a number from 1 to 65535'],
    ['with a fingerprint that is none', ['deploy', 'host', '--host-key-fingerprint', 'MD5:aa:bb'], 'It must be SHA256: followed by'],
    ['with an option that is none', ['remove', 'host', '--force'], "unknown option '--force'"],
  ])(
    'is refused %s',
    async (_, argv, problem) => {
      const { code, stderr } = await sendense(...argv);
      expect(code).toBe(2);
      expect(stderr).toContain(problem);
      expect(stderr).toContain(`See: sendense node ${argv[0] ?? ''} --help`);
    },
    PATIENCE_MS,
  );

  it(
    'tells how it is used',
    async () => {
      expect(await sendense('deploy', '--help')).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('Usage: sendense node deploy [options] <[user@]host>'),
      });
    },
    PATIENCE_MS,
  );

  it(
    'names a host that nobody answers at',
    async () => {
      const server = createServer();
      const port = await new Promise<number>((resolve) => {
        server.listen(0, '127.0.0.1', () => {
          const address = server.address();
          resolve(typeof address === 'object' && address !== null ? address.port : 0);
        });
      });
      await new Promise((resolve) => server.close(resolve));
      const { code, stderr } = await sendense('deploy', '127.0.0.1', '--port', String(port));
      expect(code).toBe(1);
      expect(stderr).toContain(`127.0.0.1:${port} cannot be reached`);
    },
    PATIENCE_MS,
  );

  it(
    'does not begin without a hub',
    async () => {
      await rm(join(folder, 'hub.url'));
      const { code, stderr } = await sendense('deploy', '127.0.0.1');
      await writeFile(join(folder, 'hub.url'), 'http://127.0.0.1:9\n');
      expect(code).toBe(1);
      expect(stderr).toContain(`there is no hub in ${folder}`);
    },
    PATIENCE_MS,
  );
});
