import { execFile } from 'node:child_process';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { ChainResponse } from '../../src/hub/backup/backups/get-chain/get-chain.dto.js';
import type { VerificationResponse } from '../../src/hub/backup/verifications/model/verification.response.js';
import type { VmPruningResponse } from '../../src/hub/backup/chains/prune-chain/prune-chain.dto.js';
import type { RestoreExportResponse } from '../../src/hub/restore/restore-exports/model/restore-export.response.js';
import { BackupClient } from '../support/backup-client.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm } from '../support/image-vm.js';
import { casesOf, inLongProof } from '../support/long-proof.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';

jest.setTimeout(300_000);
const run = promisify(execFile);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo', 'nbdkit');
const MIB = 1024 * 1024;

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let repository: string;
/** Names the append at which the hub kills itself; absent in between. */
let failpoint: string;
let tests = 0;
let vmName: string;
let vmId: string;
let vm: ImageVm;
/** Of the newest request to prune. */
let position: string | null;
let backups: BackupResponse[];
/** By backup: copies of the disks at its instant. */
let truth: Map<string, ReadonlyMap<string, string>>;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  failpoint = join(system.directory, 'failpoint');
  await startHub();
  client = new BackupClient(system);
  repository = await client.createRepository('main', system.repositoryPath);
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

beforeEach(async () => {
  vmName = `pgtest${++tests}`;
  vm = await ImageVm.create(join(system.imageRoot, vmName), [
    { file: 'disk0.qcow2', mib: 16 },
    { file: 'disk1.qcow2', mib: 8 },
  ]);
  vmId = await client.registerVm(vmName, vm.folder);
  backups = [];
  position = null;
  truth = new Map();
});

function startHub(): Promise<void> {
  return system.start({ SENDENSE_FAILPOINT: `file:${failpoint}` });
}

/** Backs the VM up once more, after it has written. */
async function backUp(type: 'full' | 'incremental'): Promise<void> {
  const number = backups.length;
  await vm.write('disk0.qcow2', number * MIB, MIB + 65_536);
  await vm.write('disk1.qcow2', (number % 3) * MIB, MIB / 2);
  const copies = await vm.copyTo(join(system.directory, `copies-${vmName}-${number}`));
  const backup = await client.backUp(vmName, repository, type);
  expect(backup.backup_type).toBe(type);
  backups.push(backup);
  truth.set(backup.backup_id, copies);
}

function idOf(index: number): string {
  return backups[index]?.backup_id ?? '';
}

async function prune(remove: readonly number[], dry_run = false): Promise<VmPruningResponse> {
  const { status, body } = await system.api<VmPruningResponse>('POST', `/vms/${vmId}/prune`, { remove: remove.map(idOf), dry_run });
  if (status !== 200) throw new Error(`answered ${status}: ${JSON.stringify(body)}`);
  position = body.position ?? position;
  return body;
}

async function chain(): Promise<ChainResponse> {
  const after = position === null ? '' : `&after=${position}`;
  return (await system.api<ChainResponse>('GET', `/backups/chain?vm_name=${vmName}${after}`)).body;
}

/** Every restore point that is left restores what the VM had, without a hub and by the hub's verification; nothing temporary is left. */
async function requireIntact(...left: readonly number[]): Promise<void> {
  const { backups: points } = await until('the pruning to be done', async () => {
    const found = await chain();
    if (found.pruning_failure !== null) throw new Error(found.pruning_failure.detail);
    return found.pruning.length === 0 && found;
  });
  expect(points.map(({ backup_id }) => backup_id)).toEqual(left.map(idOf));
  for (const point of points) {
    for (const { file, disk_key } of point.disk_results.map(({ qcow2_path, disk_key }) => ({ file: qcow2_path ?? '', disk_key }))) {
      await run('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', file, truth.get(point.backup_id)?.get(disk_key) ?? '']);
    }
  }
  expect((await system.api('POST', `/backups/${points.at(-1)?.backup_id ?? ''}/verify`)).status).toBeLessThan(300);
  const verdict = await until('the verification', async () => {
    const found = await system.api<{ verifications: VerificationResponse[] }>('GET', `/backups/${points.at(-1)?.backup_id ?? ''}/verifications`);
    return found.body.verifications.find((each) => each.status !== 'running');
  });
  expect([verdict.status, verdict.findings]).toEqual(['passed', []]);
  const folders = await readdir(join(system.repositoryPath), { recursive: true });
  expect(folders.filter((name) => /\.tmp-|\.partial-/.test(name))).toEqual([]);
}

describe('pruning', () => {
  it('removes restore points from the middle and the start of a chain, and the next backup is an incremental', async () => {
    await backUp('full');
    for (let index = 0; index < 4; index++) await backUp('incremental');
    const planned = await prune([0, 1, 3], true);
    expect(planned.chains.map(({ steps }) => steps.map(({ kind, backup_id }) => [kind, backup_id]))).toEqual([
      [
        ['absorb', idOf(4)],
        ['drop', idOf(3)],
        ['flatten', idOf(2)],
        ['drop', idOf(1)],
        ['drop', idOf(0)],
      ],
    ]);
    expect((await chain()).backup_count).toBe(5);
    expect((await system.api('POST', `/backups/${idOf(1)}/pin`, { reason: 'kept' })).status).toBeLessThan(300);
    const refused = await system.api<{ code: string }>('POST', `/vms/${vmId}/prune`, { remove: [idOf(1)] });
    expect([refused.status, refused.body.code]).toEqual([409, 'restore_point_pinned']);
    expect((await system.api('POST', `/backups/${idOf(1)}/unpin`, { reason: 'no longer' })).status).toBeLessThan(300);

    expect((await prune([0, 1, 3])).chains).toEqual(planned.chains);
    await requireIntact(2, 4);
    const points = (await chain()).backups;
    expect(points.map(({ backup_type, full_reason, parent_backup_id }) => [backup_type, full_reason, parent_backup_id])).toEqual([
      ['full', 'flattened', null],
      ['incremental', null, idOf(2)],
    ]);
    await backUp('incremental');
    await requireIntact(2, 4, 5);
  });

  inLongProof(() => {
    it('waits while a restore point of the chain is exported', async () => {
      await backUp('full');
      await backUp('incremental');
      await backUp('incremental');
      const { status, body } = await system.api<RestoreExportResponse>('POST', '/restore/exports', { backup_id: idOf(2), disk_index: 0, mode: 'read_only' });
      expect(status).toBe(201);
      await prune([1]);
      await until('the hub to say that it waits', async () => system.log().includes(`restore export ${body.export_id}`));
      expect((await chain()).pruning).toEqual([idOf(1)]);
      expect((await system.api('DELETE', `/restore/exports/${body.export_id}`)).status).toBeLessThan(300);
      await requireIntact(0, 2);
    });
  });

  it.each(
    casesOf([
      { moment: 'before:RestorePointRewriteStarted', onlyInLongProof: true },
      { moment: 'after:RestorePointRewriteStarted' },
      { moment: 'before:RestorePointRewritten', onlyInLongProof: true },
      { moment: 'after:RestorePointRewritten', onlyInLongProof: true },
      { moment: 'after:BackupDeleted', onlyInLongProof: true },
    ]),
  )('is finished by the next hub if this one is killed $moment', async ({ moment }) => {
    await backUp('full');
    await backUp('incremental');
    await backUp('incremental');
    await writeFile(failpoint, `${moment}:1`);
    await prune([0, 1]);
    await system.ended();
    await rm(failpoint);
    await startHub();
    await requireIntact(2);
  });
});
