import { createHash, randomUUID } from 'node:crypto';
import { chmod, cp, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/backups/model/backup.response.js';
import type { VerificationResponse } from '../../src/verifications/model/verification.response.js';
import { BackupClient } from '../support/backup-client.js';
import { hostileFiles } from '../support/hostile-images.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm } from '../support/image-vm.js';
import { times } from '../support/long-proof.js';
import { OpenCanary } from '../support/open-canary.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';

jest.setTimeout(5_400_000);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo', 'perl');
const MIB = 1024 * 1024;
const SECRET = 'root:$6$this-line-belongs-to-the-host:1:0:99999:7:::\n';
const VARIANTS = times(12, 1_000);
/** Imported at a time. */
const BATCH = 50;
/** An image may say that it is larger than any disk. */
const READ_BYTES = 2 * MIB;

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let canaries: readonly OpenCanary[];
let full: BackupResponse;
let incremental: BackupResponse;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  await system.start();
  client = new BackupClient(system);
  const repository = await client.createRepository('main', system.repositoryPath);
  const vm = await ImageVm.create(join(system.imageRoot, 'vm'), [{ file: 'disk0.qcow2', mib: 1, dataMib: 1 }]);
  await client.registerVm('vm', vm.folder);
  full = await client.backUp('vm', repository, 'full');
  incremental = await client.backUp('vm', repository, 'incremental');
  canaries = [
    await OpenCanary.create(join(system.directory, 'host-secret.raw'), SECRET.repeat(2048)),
    await OpenCanary.create(join(system.repositoryPath, 'other.raw'), SECRET.repeat(2048)),
  ];
});

afterAll(async () => {
  for (const canary of canaries) canary.stop();
  await system.destroy();
  await database.drop();
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
  return Buffer.concat(chunks).includes('belongs-to-the-host') ? 'the secret' : 'opened';
}

async function verify(backupId: string): Promise<string> {
  const { body } = await system.api<VerificationResponse>('POST', `/backups/${backupId}/verify`);
  const ended = await until('the verdict', async () => {
    const found = await system.api<{ verifications: VerificationResponse[] }>('GET', `/backups/${backupId}/verifications`);
    return found.body.verifications.find(({ verification_id, status }) => verification_id === body.verification_id && status !== 'running');
  });
  return ended.status;
}

function requireSound(outcomes: ReadonlyMap<string, number>): void {
  expect([...outcomes.keys()].filter((outcome) => outcome.includes('the secret'))).toEqual([]);
}

const count = (outcomes: Map<string, number>, outcome: string): void => void outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);

describe('headers made at random', () => {
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
          JSON.stringify({ ...manifest, backup_id: backupId, repository_id: repositoryId, chain_id: randomUUID(), disks }),
        );
      }
      const { status, body } = await system.api<{ imported: string[]; skipped: object[] }>('POST', '/repositories/import', {
        path: copy,
        name: `hostile ${first}`,
      });
      expect({ status, seen: body.imported.length + body.skipped.length, opened: openings() }).toEqual({ status: 200, seen: seeds.length, opened: [0, 0] });
      imported += body.imported.length;
      for (const backupId of body.imported) {
        count(outcomes, `verification ${await verify(backupId)}`);
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
      if (seed % 10 === 1) count(outcomes, `verification ${await verify(full.backup_id)}`);
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
