import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect } from '@jest/globals';
import pg from 'pg';
import { guestMountsBelow, removeGuestMounts } from '../support/guest-mounts.js';
import { until } from '../support/hub-system.js';
import { startTestPostgres } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';
import { TestEventStore } from '../support/test-event-store.js';
import { inLongProof, IS_LONG } from '../support/long-proof.js';

const DEMO = resolve(import.meta.dirname, '../../dist/demo/demo.js');
const { describe, it } = requireTools('qemu-img', 'qemu-io', 'qemu-nbd', 'nbdkit', 'nbdcopy', 'nbdinfo', 'curl');

/** What bin/demo runs once the checkout is prepared, in a temporary directory of its own, so that whatever it leaves is seen. */
describe('the demo', () => {
  let temporary: string;
  let eventStore: TestEventStore | null;
  let child: ChildProcess;
  let output: string;

  beforeEach(async () => {
    temporary = await mkdtemp(join(tmpdir(), 'sendense-demo-test-'));
    // PostgreSQL passes through as another user when root runs it.
    await chmod(temporary, 0o711);
    eventStore = await TestEventStore.start();
  });
  afterEach(async () => {
    child.kill('SIGKILL');
    for (const pid of await processes()) process.kill(pid, 'SIGKILL');
    await until('the processes to end', async () => (await processes()).length === 0);
    await eventStore?.stop();
    await removeGuestMounts(temporary);
    await rm(temporary, { recursive: true, force: true, maxRetries: 10 });
  });

  it('proves a full and an incremental, leaves a hub on which its examples work, and tells how to remove it all', async () => {
    begin({ DATABASE_URL: undefined }, '--keep', '--days', IS_LONG ? '10' : '0');
    const status = await ended();
    expect({ status, output }).toMatchObject({ status: 0, output: expect.stringContaining('Both restore points contain exactly what the disks held.') });
    expect(output.match(/^ {3}PASS (full|incremental) +(data|system)\.qcow2 .* identical, file system clean/gm)).toHaveLength(4);
    expect(output).toContain('a full, because: first_backup');
    expect(output).toContain('[########################] 100 %');
    expect(output.match(/BackupCompleted/g)).toHaveLength(2);
    // A machine that cannot mount says so, and fails under CI=true.
    const mounts = !output.includes('NOT SHOWN: ');
    if (mounts) expect(output.match(/^ {3}PASS (app\.log|accounts\.db) downloaded: identical to what the source held/gm)).toHaveLength(2);
    expect(await guestMountsBelow(temporary)).toEqual([]);
    if (IS_LONG) {
      const [, left = ''] =
        /^Of 10 restore points (\d) are left; each holds exactly what the disk held that evening, and passes verification\.$/m.exec(output) ?? [];
      expect(output.match(/^ {3}PASS +\d\d \w{3} +(full|incremental) /gm)).toHaveLength(Number(left));
      expect(output.match(/^ {3}\w{3} \d\d \w{3} +incremental .* removed \d\d \w{3}; merged into \d\d \w{3}/gm)?.length).toBeGreaterThan(0);
    }

    const examples = linesAfter('Commands to try, in this order:', 'To stop it');
    // And a mount that is left standing, which ending the demo has to take away.
    const mountLines = examples.match(/^ *MOUNT=[\s\S]*?cut -d .*$/m)?.[0] ?? '';
    const tried = await runShell(`set -eu\n${`${examples}\n${mountLines}`.replaceAll('curl -s', 'curl -sS --fail-with-body')}`);
    expect(tried).toMatchObject({ status: 0, text: expect.stringContaining('"backup_count":2') });
    expect(tried.text).toContain('"backup_type":"incremental"');
    if (mounts) {
      expect(tried.text).toContain('"name":"app.log"');
      expect(tried.text).toContain('request 21999 answered with 200');
      expect(await guestMountsBelow(temporary)).not.toEqual([]);
    }
    const page = /http:\S+\/api\/docs$/m.exec(linesAfter('The hub is still running.', 'Commands to try'))?.[0] ?? '';
    expect((await fetch(page)).status).toBe(401);

    const [command, ...options] = linesAfter('To stop it and remove everything:', null).trim().split(' ');
    expect(command).toBe('bin/demo');
    begin({}, ...options);
    expect({ status: await ended(), output }).toMatchObject({ status: 0 });
    expect(await processes()).toEqual([]);
    expect(await guestMountsBelow(temporary)).toEqual([]);
    expect(await readdir(temporary)).toEqual([]);
  }, 600_000);

  inLongProof(() => {
    it('cleans up when it is interrupted, on a server that was there before too', async () => {
      const { databaseUrl } = await startTestPostgres();
      begin({ DATABASE_URL: databaseUrl });
      await until('the first backup', () => Promise.resolve(output.includes('answered after')), 90_000);
      const [directory = ''] = await readdir(temporary);
      expect(directory).toMatch(/^sendense-demo-/);
      child.kill('SIGINT');
      const status = await ended();
      expect({ status, output }).toMatchObject({ status: 1, output: expect.stringContaining('stopped by SIGINT') });
      expect(await processes()).toEqual([]);
      expect(await readdir(temporary)).toEqual([]);
      const client = new pg.Client({ connectionString: databaseUrl });
      await client.connect();
      const { rows } = await client.query("select datname from pg_database where datname like 'sendense_demo_%'");
      await client.end();
      expect(rows).toEqual([]);
    }, 300_000);
  });

  function begin(environment: Readonly<Record<string, string | undefined>>, ...options: readonly string[]): void {
    output = '';
    child = spawn(process.execPath, [DEMO, ...options], {
      env: { ...process.env, ...eventStore?.settings, ...environment, TMPDIR: temporary, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
  }

  async function ended(): Promise<number | null> {
    await until('the demo to end', () => Promise.resolve(child.exitCode !== null || child.signalCode !== null), 400_000);
    return child.exitCode;
  }

  function linesAfter(begin: string, end: string | null): string {
    const from = output.indexOf(begin);
    const rest = output.slice(output.indexOf('\n', from));
    return end === null ? rest : rest.slice(0, rest.indexOf(end));
  }

  /** What a user would paste. */
  async function runShell(script: string): Promise<{ readonly status: number | null; readonly text: string }> {
    const shell = spawn('bash', ['-s'], { stdio: ['pipe', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [shell.stdout, shell.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
    shell.stdin.end(script);
    await until('the commands to end', () => Promise.resolve(shell.exitCode !== null), 60_000);
    return { status: shell.exitCode, text };
  }

  async function processes(): Promise<readonly number[]> {
    const pids: number[] = [];
    for (const entry of await readdir('/proc')) {
      const pid = Number(entry);
      if (!Number.isInteger(pid) || pid === process.pid || pid === child.pid) continue;
      const text = await Promise.all(['cmdline', 'environ'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')));
      if (text.join('').includes(temporary)) pids.push(pid);
    }
    return pids;
  }
});
