import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import { BackupClient } from '../support/backup-client.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';
import { newSigner } from '../support/sealed-disks.js';

jest.setTimeout(120_000);
const run = promisify(execFile);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo');
const ROOT = resolve(import.meta.dirname, '../..');
const MIB = 1024 * 1024;

let database: TestDatabase;
let system: HubSystem;
let repository: string;
let full: BackupResponse;
let incremental: BackupResponse;
let newest: ReadonlyMap<string, string>;
let oldest: ReadonlyMap<string, string>;

/** Two restore points made by a hub that is gone afterwards, with its database. */
beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  await system.start();
  const client = new BackupClient(system);
  const repositoryId = await client.createRepository('main', system.repositoryPath);
  const vm = await ImageVm.create(join(system.imageRoot, 'pgtest1'), [
    { file: 'disk0.qcow2', mib: 32 },
    { file: 'disk1.qcow2', mib: 16 },
  ]);
  await client.registerVm('pgtest1', vm.folder);
  oldest = await vm.copyTo(join(system.directory, 'copies'));
  full = await client.backUp('pgtest1', repositoryId, 'full');
  await vm.write('disk0.qcow2', 20 * MIB, MIB);
  newest = await vm.copyTo(join(system.directory, 'copies'));
  incremental = await client.backUp('pgtest1', repositoryId, 'incremental');
  await system.kill('SIGTERM');
  await database.drop();
  await rm(system.dataDirectory, { recursive: true, force: true });
  repository = join(system.directory, 'found again');
  await cp(system.repositoryPath, repository, { recursive: true, preserveTimestamps: true });
});

afterAll(async () => {
  await system.destroy();
});

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function sendense(...argv: readonly string[]): Promise<Ended> {
  try {
    const { stdout, stderr } = await run(process.execPath, [join(ROOT, 'dist/src/cli/main.cli.js'), ...argv], {
      env: { PATH: process.env['PATH'] ?? '', SENDENSE_DATA_DIRECTORY: '/nonexistent', DATABASE_URL: 'postgres://127.0.0.1:1/none' },
    });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const failed = error as { code: number; stdout: string; stderr: string };
    return { code: failed.code, stdout: failed.stdout, stderr: failed.stderr };
  }
}

const restore = (...argv: readonly string[]): Promise<Ended> => sendense('restore', '--repository', repository, ...argv);

async function newFolder(name: string): Promise<string> {
  const path = join(system.directory, name);
  await mkdir(path);
  return path;
}

async function requireSame(copy: string | undefined, format: string, file: string): Promise<void> {
  await run('qemu-img', ['compare', '-f', 'raw', '-F', format, copy ?? '', file]);
}

describe('with the hub dead', () => {
  it('the repository says what it holds', async () => {
    const { code, stdout } = await restore('list');
    expect([code, stdout]).toEqual([0, expect.stringContaining('VM pgtest1')]);
    const listed = JSON.parse((await restore('list', '--json')).stdout) as { restore_points: { backup_id: string }[] };
    expect(listed.restore_points.map(({ backup_id }) => backup_id)).toEqual([full.backup_id, incremental.backup_id]);
  });

  it('disks of any restore point are restored, in any format', async () => {
    const target = await newFolder('out');
    const { code, stdout, stderr } = await restore('disks', '--target', target);
    expect([code, stderr, stdout]).toEqual([0, '', expect.stringContaining(join(target, 'pgtest1-disk1.raw'))]);
    await requireSame(newest.get('disk0.qcow2'), 'raw', join(target, 'pgtest1-disk0.raw'));
    const older = await restore('disks', '--point', full.backup_id.slice(-8), '--disk', '0', '--format', 'vmdk', '--target', target, '--json');
    expect(JSON.parse(older.stdout)).toMatchObject({ backup_id: full.backup_id, files: [join(target, 'pgtest1-disk0.vmdk')] });
    await requireSame(oldest.get('disk0.qcow2'), 'vmdk', join(target, 'pgtest1-disk0.vmdk'));
    expect((await restore('disks', '--target', target)).code).toBe(1);
    expect((await readdir(target)).sort()).toEqual(['pgtest1-disk0.raw', 'pgtest1-disk0.vmdk', 'pgtest1-disk1.raw']);
  });

  it('the repository is verified, and the page that says how tells the truth', async () => {
    const page = await readFile(join(ROOT, 'docs/restore.md'), 'utf8');
    const commands = [...page.matchAll(/```sh (hub-dead|hub-dead-by-hand)\n([\s\S]*?)```/g)].map(([, , block]) => String(block));
    expect(commands.length).toBeGreaterThanOrEqual(4);
    const target = join(system.directory, 'by the page');
    const script = commands
      .map((block) => block.replace(/^ {3}/gm, ''))
      .join('\n')
      .replaceAll('bin/sendense', `'${process.execPath}' '${join(ROOT, 'dist/src/cli/main.cli.js')}'`)
      .replaceAll('/srv/backups', repository.replaceAll(' ', '\\ '))
      .replaceAll('/srv/restore', target.replaceAll(' ', '\\ '));
    const file = join(system.directory, 'by-the-page.sh');
    await writeFile(file, `set -euo pipefail\n${script}`);
    const { stdout } = await run('bash', [file]);
    expect(stdout).toContain('OK: 2 restore point(s)');
    await requireSame(newest.get('disk0.qcow2'), 'raw', join(target, 'pgtest1-disk0.raw'));
    await requireSame(newest.get('disk0.qcow2'), 'raw', join(target, 'by-hand-disk0.raw'));
  });

  it('wrong usage is told with 2', async () => {
    expect((await restore('disks')).code).toBe(2);
    expect((await restore('list', '--nonsense')).code).toBe(2);
    expect((await sendense('restore', 'list')).code).toBe(2);
    expect(await restore('disks', '--point', 'ffffffff', '--target', '/tmp')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('there is no restore point ffffffff'),
    });
  });

  it('a new hub takes the repository over, with restore points that it lists, verifies, restores and deletes', async () => {
    const other = await createTestDatabase({ migrated: false });
    const hub = await HubSystem.create({ databaseUrl: other.databaseUrl });
    try {
      await hub.start();
      const moved = join(hub.directory, 'imported');
      await cp(repository, moved, { recursive: true, preserveTimestamps: true });
      const importWith = async (keys: readonly string[]): Promise<readonly [number, object]> => {
        const { status, body } = await hub.api<object>('POST', '/repositories/import', { path: moved, name: 'imported', keys });
        return [status, body];
      };
      const document = join(moved, incremental.folder ?? '', 'manifest.json');
      const signed = await readFile(document, 'utf8');
      const { signing_key: key } = JSON.parse(signed) as { signing_key: string };
      const [name, keyId] = key.split('+');
      expect(await importWith([`${name ?? ''}+${keyId?.startsWith('0') === true ? '1' : '0'}${keyId?.slice(1) ?? ''}+${key.slice(-44)}`])).toMatchObject([
        400,
        { code: 'key_invalid' },
      ]);
      expect(await importWith([newSigner('other').key])).toMatchObject([
        200,
        { created: true, imported: [], skipped: [{ reason: expect.stringContaining('not one of the given keys') }, { reason: expect.any(String) }] },
      ]);
      await chmod(document, 0o644);
      await writeFile(document, signed.replace('"source_ref": "', '"source_ref": "/else'));
      expect(await importWith([])).toMatchObject([
        200,
        {
          imported: [full.backup_id],
          skipped: [{ folder: incremental.folder, reason: expect.stringContaining('is not valid') }],
          signatures: { trusted: 0, unknown_key: 1, unsigned: 0, unknown_keys: [key] },
        },
      ]);
      await writeFile(document, signed);
      const cli = await run(process.execPath, [join(ROOT, 'dist/src/cli/main.cli.js'), 'repository', 'import', moved, '--key', key, '--json'], {
        env: { PATH: process.env['PATH'] ?? '', SENDENSE_DATA_DIRECTORY: hub.dataDirectory },
      });
      const counts = { trusted: 2, unknown_key: 0, unsigned: 0, unknown_keys: [] };
      expect(JSON.parse(cli.stdout)).toMatchObject({ created: false, name: 'imported', imported: [incremental.backup_id], skipped: [], signatures: counts });
      expect(await importWith([])).toMatchObject([200, { created: false, imported: [], already_known: 2, signatures: { unknown_key: 2 } }]);

      const client = new BackupClient(hub);
      const chain = await until('the chain to be there', async () => {
        const { status, body } = await hub.api<{ backups: BackupResponse[] }>('GET', '/backups/chain?vm_name=pgtest1');
        return status === 200 && body.backups.length === 2 ? body : null;
      });
      expect(chain.backups.map(({ backup_id, status, backup_type }) => ({ backup_id, status, backup_type }))).toEqual([
        { backup_id: full.backup_id, status: 'completed', backup_type: 'full' },
        { backup_id: incremental.backup_id, status: 'completed', backup_type: 'incremental' },
      ]);
      await hub.api('POST', `/backups/${incremental.backup_id}/verify`);
      await until('the verdict', async () => {
        const { body } = await hub.api<{ verifications: { status: string }[] }>('GET', `/backups/${incremental.backup_id}/verifications`);
        return body.verifications[0]?.status === 'passed';
      });
      const target = join(hub.directory, 'out');
      await mkdir(target);
      const { body: job } = await hub.api<{ job_id: string }>('POST', '/restore/disks', {
        backup_id: incremental.backup_id,
        target_path: target,
        format: 'raw',
      });
      await until('the restore', async () => (await hub.api<{ cleaned_up: boolean }>('GET', `/restore/jobs/${job.job_id}`)).body.cleaned_up);
      await requireSame(newest.get('disk0.qcow2'), 'raw', join(target, 'pgtest1-disk0.raw'));

      expect(await client.problem('DELETE', `/backups/${full.backup_id}`)).toMatchObject({ code: 'restore_point_in_use' });
      expect((await hub.api('DELETE', `/backups/${incremental.backup_id}`)).status).toBe(204);
      expect((await hub.api('DELETE', `/backups/${full.backup_id}`)).status).toBe(204);
      expect((await readdir(moved)).filter((name) => !name.startsWith('.'))).toEqual([]);
    } finally {
      await hub.destroy();
      await other.drop();
    }
  });

  it('damage is named with file and restore point, and nothing is left of a restore from it', async () => {
    const file = join(repository, full.folder ?? '', 'disk-1.qcow2');
    await chmod(file, 0o644);
    await truncate(file, 1000);
    const verified = await restore('verify', '--json');
    expect(verified.code).toBe(1);
    expect(JSON.parse(verified.stdout)).toMatchObject({
      ok: false,
      findings: [{ code: 'file_truncated', backup_id: full.backup_id, file: join(full.folder ?? '', 'disk-1.qcow2') }],
      unusable_restore_points: [full.backup_id, incremental.backup_id],
    });
    const target = await newFolder('damaged');
    const restored = await restore('disks', '--target', target, '--json');
    expect([restored.code, JSON.parse(restored.stdout)]).toMatchObject([1, { error: { code: 'source_damaged', detail: expect.stringContaining(file) } }]);
    expect(await readdir(target)).toEqual([]);

    await rm(join(repository, full.folder ?? ''), { recursive: true, force: true });
    const missing = JSON.parse((await restore('verify', '--json')).stdout) as {
      findings: { code: string; backup_id: string }[];
      unusable_restore_points: string[];
    };
    expect(missing.findings).toMatchObject([{ code: 'restore_point_missing', backup_id: full.backup_id }]);
    expect(missing.unusable_restore_points).toEqual([incremental.backup_id]);
    expect((await restore('list')).stdout).toContain('CANNOT BE RESTORED');
  });
});
