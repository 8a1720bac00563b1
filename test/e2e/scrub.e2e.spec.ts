import { execFile } from 'node:child_process';
import { glob, mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { VerificationResponse } from '../../src/hub/backup/verifications/model/verification.response.js';
import { HubSystem, until } from '../support/hub-system.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';

jest.setTimeout(120_000);
const { describe, it } = requireTools('qemu-img');

let database: TestDatabase;
let system: HubSystem;
let moved: string;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  moved = join(system.directory, 'moved');
  await mkdir(moved);
  await promisify(execFile)('tar', ['xzf', join(import.meta.dirname, '../golden-repository/format-1.tar.gz'), '-C', moved]);
  // Its manifests are not signed, so its restore points can be made older.
  for await (const name of glob('*/*/manifest.json', { cwd: moved })) {
    const manifest = join(moved, name);
    await writeFile(manifest, (await readFile(manifest, 'utf8')).replaceAll(/"\d{4}-\d\d-\d\dT/g, '"2026-01-15T'));
  }
  for await (const name of glob('*/*-incr-*/disk-1.qcow2', { cwd: moved })) {
    const file = await open(join(moved, name), 'r+');
    await file.write(Buffer.from([0x5e]), 0, 1, 200_000);
    await file.close();
  }
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

async function newest(): Promise<BackupResponse> {
  const { body } = await system.api<{ backups: BackupResponse[] }>('GET', '/backups?backup_type=incremental');
  const [found] = body.backups;
  if (found === undefined) throw new Error('the incremental is not imported');
  return found;
}

async function verifications(): Promise<readonly VerificationResponse[]> {
  const { body } = await system.api<{ verifications: VerificationResponse[] }>('GET', `/backups/${(await newest()).backup_id}/verifications`);
  return body.verifications;
}

describe('restore points that were not read for long', () => {
  it('are verified by the hub itself, which then reports the damage', async () => {
    await system.start();
    expect((await system.api('POST', '/repositories/import', { path: moved, name: 'moved' })).status).toBe(200);
    // The answer of an import does not wait for the read models.
    await until('the restore points to be shown', () => newest().catch(() => false as const));
    expect(await newest()).toMatchObject({ status: 'completed', damage: null });
    await system.kill('SIGTERM');
    await system.start();
    const [failed] = await until('the verification to end', async () => {
      const found = await verifications();
      return found[0]?.status === 'failed' && found;
    });
    expect(failed).toMatchObject({ files_checked: 4, findings: [{ code: 'file_altered', file: expect.stringContaining('disk-1.qcow2') }] });
    expect((await newest()).damage).toMatchObject({ code: 'file_altered', verification_id: failed?.verification_id });
    const { body } = await system.api<{ events: { actor: string }[] }>('GET', `/audit/events?stream=verification-${failed?.verification_id ?? ''}`);
    expect(body.events.map(({ actor }) => actor)).toContain('system:scrub');
  });
});
