import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { chmod, cp, mkdir, readdir, readFile, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { AuditEventResponse } from '../../src/hub/history/audit/audit-event.response.js';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { VerificationResponse } from '../../src/hub/backup/verifications/model/verification.response.js';
import { BackupClient } from '../support/backup-client.js';
import { hostileFiles } from '../support/hostile-images.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm } from '../support/image-vm.js';
import { times } from '../support/long-proof.js';
import { requireTrueMetrics } from '../support/metrics-truth.js';
import { OpenCanary } from '../support/open-canary.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';
import { asFormat1 } from '../support/sealed-disks.js';

jest.setTimeout(5_400_000);
const run = promisify(execFile);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo', 'perl');
const ROOT = resolve(import.meta.dirname, '../..');
const MIB = 1024 * 1024;
const SECRET = 'TOP-SECRET-OF-THE-HOST';
const VARIANTS = times(3, 1_000);
/** Imported at a time. */
const BATCH = 50;
/** An image may say that it is larger than any disk. */
const READ_BYTES = 2 * MIB;

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let repository: string;
let backup: BackupResponse;
let path: string;
let secret: string;
let canaries: readonly OpenCanary[];
let full: BackupResponse;
let incremental: BackupResponse;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  await system.start();
  client = new BackupClient(system);
  repository = await client.createRepository('main', system.repositoryPath);
  const vm = await ImageVm.create(join(system.imageRoot, 'vm'), [{ file: 'disk0.qcow2', mib: 16, dataMib: 2 }]);
  await client.registerVm('vm', vm.folder);
  backup = await client.backUp('vm', repository, 'full');
  path = backup.disk_results[0]?.qcow2_path ?? '';
  secret = join(system.directory, 'secret');
  await writeFile(secret, SECRET.padEnd(16 * MIB, '.'), { mode: 0o600 });
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

const folderOf = (file: string): string => file.slice(0, file.lastIndexOf('/'));

/** What each way to the disk's content answers. */
async function answers(): Promise<readonly { readonly status: number; readonly code: string }[]> {
  const disk = { backup_id: backup.backup_id, disk_index: 0 };
  const target = join(system.directory, 'target');
  await mkdir(target, { recursive: true });
  return Promise.all([
    client.problem('GET', `/backups/${backup.backup_id}/disks/0/download?format=raw`),
    client.problem('GET', `/backups/${backup.backup_id}/disks/0/download?format=qcow2`),
    client.problem('POST', '/restore/exports', { ...disk, mode: 'read_only' }),
    client.problem('POST', '/restore/exports', { ...disk, mode: 'read_write' }),
    client.problem('POST', '/restore/mount', disk),
  ]);
}

async function eventsOfChain(): Promise<readonly AuditEventResponse[]> {
  return (await system.api<{ events: AuditEventResponse[] }>('GET', `/audit/streams/chain-${backup.chain_id ?? ''}`)).body.events;
}

async function verified(backupId = backup.backup_id): Promise<VerificationResponse> {
  const { body } = await system.api<VerificationResponse>('POST', `/backups/${backupId}/verify`);
  return until('the verdict', async () => {
    const found = await system.api<{ verifications: VerificationResponse[] }>('GET', `/backups/${backupId}/verifications`);
    const verification = found.body.verifications.find(({ verification_id }) => verification_id === body.verification_id);
    return verification === undefined || verification.status === 'running' ? null : verification;
  });
}

describe('a repository that others write to', () => {
  it('serves nothing of a sealed file that was replaced by one of the same length and time', async () => {
    const { atime, mtime } = await stat(path);
    const sound = await readFile(path);
    const other = Buffer.from(sound);
    other.write(SECRET, other.length - 100);
    await chmod(folderOf(path), 0o755);
    await writeFile(`${path}.new`, other);
    await rename(`${path}.new`, path);
    await utimes(path, atime, mtime);
    for (const answer of await answers()) expect(answer).toMatchObject({ status: 409, code: 'restore_point_damaged' });
    await writeFile(`${path}.new`, sound);
    await rename(`${path}.new`, path);
  });

  it('marks it as damaged once, as a failed verification does, and nothing is built on it', async () => {
    await answers();
    const marks = (await eventsOfChain()).filter(({ type }) => type === 'RestorePointDamaged');
    expect(marks).toMatchObject([{ data: { backup_id: backup.backup_id, code: 'parent_altered', file: expect.stringContaining('disk-0.qcow2') } }]);
    expect(marks[0]?.actor).toBe('system:chain-guard');
    const found = await until('the mark to be shown', async () => ((await client.get(backup.backup_id)).damage === null ? null : client.get(backup.backup_id)));
    expect(found.damage).toMatchObject({ code: 'file_altered', verification_id: null });
    await requireTrueMetrics(system);
    expect(system.log()).toMatch(/a restore point is damaged/);
    expect(await client.refused('vm', repository, 'incremental')).toMatchObject({ code: 'incremental_impossible', reason: 'parent_altered' });
    backup = await client.backUp('vm', repository, 'auto');
    expect(backup).toMatchObject({ backup_type: 'full', full_reason: 'parent_altered', damage: null });
    path = backup.disk_results[0]?.qcow2_path ?? '';
  });

  it('serves nothing through a link, and calls it no sound restore point', async () => {
    await rename(path, join(system.directory, 'elsewhere.qcow2'));
    await symlink(join(system.directory, 'elsewhere.qcow2'), path);
    for (const answer of await answers()) expect(answer).toMatchObject({ status: 409, code: 'restore_point_unsafe' });
    const restore = { backup_id: backup.backup_id, target_path: join(system.directory, 'target'), format: 'raw', allow_damaged: true };
    expect(await client.problem('POST', '/restore/disks', restore)).toMatchObject({ status: 409, code: 'restore_point_unsafe' });
    await rm(path);
    await rename(join(system.directory, 'elsewhere.qcow2'), path);
    // What was touched and is as it was is read once, and served.
    expect((await system.api('POST', '/restore/exports', { backup_id: backup.backup_id, disk_index: 0, mode: 'read_only' })).status).toBe(201);
  });

  it.each([
    ['stands on a file of the host', (disk: string) => run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', secret, '-F', 'raw', disk, `${16 * MIB}`])],
    [
      'keeps its data in a file of the host',
      async (disk: string) => {
        const data = join(system.directory, `data-${randomUUID()}`);
        await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', `data_file=${data},data_file_raw=on`, disk, `${16 * MIB}`]);
        await cp(secret, data);
      },
    ],
  ])('is not imported, nor restored from without a hub, where a disk %s', async (what, make) => {
    const copy = join(system.directory, `hostile ${what}`);
    await cp(system.repositoryPath, copy, { recursive: true });
    await run('chmod', ['-R', 'u+rwX', copy]);
    const repositoryId = randomUUID();
    const marker = join(copy, '.sendense-repository.json');
    await writeFile(marker, (await readFile(marker, 'utf8')).replace(/"repository_id": "[^"]*"/, `"repository_id": "${repositoryId}"`));
    const folder = join(copy, backup.folder ?? '');
    const disk = join(folder, 'disk-0.qcow2');
    await rm(disk);
    await make(disk);
    const content = await readFile(disk);
    const manifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')) as { disks: object[] };
    const disks = manifest.disks.map((each) => ({
      ...each,
      file_size_bytes: content.length,
      sha256: createHash('sha256').update(content).digest('hex'),
    }));
    const changed = { ...asFormat1(manifest), backup_id: randomUUID(), repository_id: repositoryId, chain_id: randomUUID(), disks };
    await writeFile(join(folder, 'manifest.json'), JSON.stringify(changed));

    const { body } = await system.api<{ imported: string[]; skipped: { reason: string }[] }>('POST', '/repositories/import', {
      path: copy,
      name: `hostile ${what}`,
    });
    expect(body.imported).toEqual([]);
    expect(body.skipped).toContainEqual({ folder: backup.folder, reason: expect.stringContaining('disk-0.qcow2') });

    const target = join(system.directory, `offline ${what}`);
    await mkdir(target);
    const offline = await run(process.execPath, [
      join(ROOT, 'dist/src/cli/main.cli.js'),
      'restore',
      '--repository',
      copy,
      'disks',
      '--target',
      target,
      '--json',
    ]).catch((error: unknown) => error);
    expect(offline).toMatchObject({ code: 1, stdout: expect.stringContaining('restore_point_unsafe') });
  });

  it('restores into none of the folders that the hub uses itself', async () => {
    for (const target of [system.imageRoot, join(system.directory, 'data')]) {
      await mkdir(target, { recursive: true });
      const request = { backup_id: backup.backup_id, target_path: target, format: 'raw' };
      expect(await client.problem('POST', '/restore/disks', request)).toMatchObject({ status: 400, code: 'target_refused' });
    }
  });

  it('is found by a verification to have data elsewhere', async () => {
    await chmod(folderOf(path), 0o755);
    const data = join(system.directory, 'data-of-sealed');
    await rm(path);
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', `data_file=${data},data_file_raw=on`, path, `${16 * MIB}`]);
    expect(await verified()).toMatchObject({ status: 'failed' });
    expect((await client.problem('GET', `/backups/${backup.backup_id}/disks/0/download?format=raw`)).status).toBe(409);
  });
});

const openings = (): readonly number[] => canaries.map((canary) => canary.openings);

/** Puts a variant's files into a folder of a restore point, its disk as `disk-0.qcow2`. @returns the disk's content */
async function put(seed: number, folder: string): Promise<Buffer> {
  const forbidden = canaries.map(({ path }) => ({ outside: path, relative: relative(folder, path) }));
  let disk = Buffer.alloc(0);
  for (const file of hostileFiles(seed, forbidden)) {
    const name = /^disk0\./.test(file.name) ? 'disk-0.qcow2' : file.name;
    if ('link' in file) await symlink(file.link, join(folder, name));
    else await writeFile(join(folder, name), file.content);
    if (name === 'disk-0.qcow2' && 'content' in file) disk = Buffer.from(file.content);
  }
  return disk;
}

/** Has the disk opened in each way in which the API opens it. @returns what came of each */
async function openAll(backupId: string): Promise<readonly string[]> {
  const asked = { backup_id: backupId, disk_index: 0, allow_damaged: true };
  const found = await Promise.all([
    downloaded(backupId, 'raw'),
    downloaded(backupId, 'qcow2'),
    system.api<{ export_id?: string }>('POST', '/restore/exports', { ...asked, mode: 'read_only' }),
    system.api<{ export_id?: string }>('POST', '/restore/exports', { ...asked, mode: 'read_write' }),
    system.api<{ mount_id?: string }>('POST', '/restore/mount', asked),
  ]);
  const [, , ...others] = found;
  for (const { body } of others) {
    if ('export_id' in body && body.export_id !== undefined) await system.api('DELETE', `/restore/exports/${body.export_id}`);
    if ('mount_id' in body && body.mount_id !== undefined) await system.api('DELETE', `/restore/${body.mount_id}`);
  }
  return found.map((one) => (typeof one === 'string' ? one : one.status < 300 ? 'opened' : 'refused'));
}

async function downloaded(backupId: string, format: 'raw' | 'qcow2'): Promise<string> {
  const token = (await readFile(join(system.dataDirectory, 'api.token'), 'utf8')).trim();
  const cut = new AbortController();
  const response = await fetch(`${system.url()}/api/v1/backups/${backupId}/disks/0/download?format=${format}&allow_damaged=true`, {
    headers: { authorization: `Bearer ${token}` },
    signal: cut.signal,
    // A program that fails before its first byte ends the download too.
  }).catch(() => null);
  if (response === null) return 'broken off';
  if (!response.ok || response.body === null) {
    await response.text();
    return 'refused';
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes >= READ_BYTES) break;
    }
  } catch {
    // A program that fails on the way ends the download.
  }
  cut.abort();
  return Buffer.concat(chunks).includes('TOP-SECRET') ? 'the secret' : 'opened';
}

function requireSound(outcomes: ReadonlyMap<string, number>): void {
  expect([...outcomes.keys()].filter((outcome) => outcome.includes('the secret'))).toEqual([]);
}

const count = (outcomes: Map<string, number>, outcome: string): void => void outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);

describe('headers made at random', () => {
  beforeAll(async () => {
    const vm = await ImageVm.create(join(system.imageRoot, 'small'), [{ file: 'disk0.qcow2', mib: 1, dataMib: 1 }]);
    await client.registerVm('small', vm.folder);
    full = await client.backUp('small', repository, 'full');
    incremental = await client.backUp('small', repository, 'incremental');
    canaries = [
      await OpenCanary.create(join(system.directory, 'host-secret.raw'), SECRET.repeat(2048)),
      await OpenCanary.create(join(system.repositoryPath, 'other.raw'), SECRET.repeat(2048)),
    ];
  });
  afterAll(() => {
    for (const canary of canaries) canary.stop();
  });

  it('have no file opened that is not of the restore point when they are imported, verified and restored from', async () => {
    const manifest = JSON.parse(await readFile(join(system.repositoryPath, full.folder ?? '', 'manifest.json'), 'utf8')) as { disks: object[] };
    const outcomes = new Map<string, number>();
    let imported = 0;
    for (let first = 1; first <= VARIANTS; first += BATCH) {
      const copy = join(system.directory, `hostile-${first}`);
      const repositoryId = randomUUID();
      await mkdir(copy);
      const marker = await readFile(join(system.repositoryPath, '.sendense-repository.json'), 'utf8');
      await writeFile(join(copy, '.sendense-repository.json'), marker.replace(/"repository_id": "[^"]*"/, `"repository_id": "${repositoryId}"`));
      const seeds = Array.from({ length: Math.min(BATCH, VARIANTS - first + 1) }, (_, index) => first + index);
      for (const seed of seeds) {
        const backupId = randomUUID();
        const folder = join(copy, dirname(full.folder ?? ''), `20261121T101500Z-full-${backupId.slice(-8)}`);
        await mkdir(folder, { recursive: true });
        const content = await put(seed, folder);
        const fact = { file_size_bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') };
        const disks = manifest.disks.map((disk) => ({ ...disk, ...fact }));
        await writeFile(
          join(folder, 'manifest.json'),
          JSON.stringify({ ...asFormat1(manifest), backup_id: backupId, repository_id: repositoryId, chain_id: randomUUID(), disks }),
        );
      }
      const { status, body } = await system.api<{ imported: string[]; skipped: object[] }>('POST', '/repositories/import', {
        path: copy,
        name: `hostile ${first}`,
      });
      expect({ status, seen: body.imported.length + body.skipped.length, opened: openings() }).toEqual({ status: 200, seen: seeds.length, opened: [0, 0] });
      imported += body.imported.length;
      for (const backupId of body.imported) {
        count(outcomes, `verification ${(await verified(backupId)).status}`);
        for (const outcome of await openAll(backupId)) count(outcomes, outcome);
        expect({ seeds: [first, seeds.at(-1)], opened: openings() }).toEqual({ seeds: [first, seeds.at(-1)], opened: [0, 0] });
      }
      // Of those that are not imported nothing can be asked by their ids.
      await rm(copy, { recursive: true });
    }
    requireSound(outcomes);
    // Else nothing was proven.
    expect(imported).toBeGreaterThan(VARIANTS / 20);
    expect(imported).toBeLessThan((VARIANTS * 9) / 10);
    expect(outcomes.get('opened') ?? 0).toBeGreaterThan(0);
  });

  it('have none opened either when they take the place of a sealed file, alone and under an incremental, and damage is asked for', async () => {
    const outcomes = new Map<string, number>();
    const path = full.disk_results[0]?.qcow2_path ?? '';
    const folder = dirname(path);
    await chmod(folder, 0o755);
    const aside = join(system.directory, 'sealed');
    await cp(folder, aside, { recursive: true });
    for (let seed = 1; seed <= VARIANTS; seed++) {
      for (const name of await readdir(folder)) if (name !== 'manifest.json') await rm(join(folder, name), { recursive: true });
      await put(seed, folder);
      for (const outcome of await openAll((seed % 2 === 0 ? full : incremental).backup_id)) count(outcomes, outcome);
      if (seed % 10 === 1) count(outcomes, `verification ${(await verified(full.backup_id)).status}`);
      expect({ seed, opened: openings() }).toEqual({ seed, opened: [0, 0] });
    }
    await rm(folder, { recursive: true });
    await rename(aside, folder);
    requireSound(outcomes);
    expect(outcomes.get('verification passed') ?? 0).toBe(0);
    expect(outcomes.get('opened') ?? 0).toBeGreaterThan(0);
    expect(outcomes.get('refused') ?? 0).toBeGreaterThan(VARIANTS);
  });
});
