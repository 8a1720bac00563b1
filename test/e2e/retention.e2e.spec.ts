import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { ChainResponse } from '../../src/hub/backup/backups/get-chain/get-chain.dto.js';
import type { OccurrenceResponse } from '../../src/hub/backup/policies/model/occurrence.response.js';
import type { PolicyResponse } from '../../src/hub/backup/policies/model/policy.response.js';
import type { PolicyPreviewResponse } from '../../src/hub/backup/policies/preview-policy/preview-policy.dto.js';
import type { PolicySimulationResponse } from '../../src/hub/backup/policies/simulate-policy/simulate-policy.dto.js';
import { BackupClient } from '../support/backup-client.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';

jest.setTimeout(240_000);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo');

const runFile = promisify(execFile);
const MIB = 2 ** 20;
const DAY_MS = 86_400_000;
const RUN_PATIENCE_MS = 120_000;

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let policy: PolicyResponse;
let settings: Record<string, unknown>;
/** The restore points of the policy, oldest first. */
const points: BackupResponse[] = [];

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  // A chain is a full and one incremental.
  system = await HubSystem.create({ databaseUrl: database.databaseUrl, env: { SENDENSE_CHAIN_MAX_LENGTH: '2' } });
  await system.start();
  client = new BackupClient(system);
  const repository_id = await client.createRepository('main', system.repositoryPath);
  const vm = await ImageVm.create(join(system.imageRoot, 'web-1'), [{ file: 'disk0.qcow2', mib: 8, dataMib: 1 }]);
  await client.registerVm('web-1', vm.folder);
  settings = {
    name: 'nightly',
    time_zone: 'Europe/Berlin',
    schedule: 'daily at 22:00',
    enabled: false,
    include: [{ by: 'name', value: 'web-*' }],
    repository_id,
  };
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

/** Runs the policy. @returns the id of the run */
async function begun(): Promise<string> {
  const path = `/policies/${policy.policy_id}`;
  // Right after the hub has started, its node may not be known to be reachable.
  const body = await until('the run to begin', async () => {
    const answer = await system.api<OccurrenceResponse>('POST', `${path}/run`);
    return answer.status === 202 ? answer.body : null;
  });
  return body.occurrence_id;
}

/** @returns the restore point of a run */
async function ended(id: string): Promise<BackupResponse> {
  const path = `/policies/${policy.policy_id}`;
  const run = await until('the run to finish', async () => {
    const { occurrences } = (await system.api<{ occurrences: OccurrenceResponse[] }>('GET', `${path}/occurrences`)).body;
    return occurrences.find(({ occurrence_id, finished_at }) => occurrence_id === id && finished_at !== null);
  });
  const backup = await client.atRest(run.vms[0]?.backup_id ?? '');
  expect(backup.status).toBe('completed');
  expect(points.map(({ backup_id }) => backup_id)).not.toContain(backup.backup_id);
  points.push(backup);
  return backup;
}

const backedUp = async (): Promise<BackupResponse> => ended(await begun());
const shown = (index: number): Promise<BackupResponse> => client.get(points[index]?.backup_id ?? '');
const folderOf = (index: number): string => join(system.repositoryPath, points[index]?.folder ?? '');
const protect = (index: number, change: string, reason: string) =>
  system.api<BackupResponse>('POST', `/backups/${points[index]?.backup_id ?? ''}/${change}`, { reason });
const becomes = (index: number, fits: (backup: BackupResponse) => boolean, what: string): Promise<BackupResponse> =>
  until(`restore point ${index} to be ${what}`, async () => {
    const backup = await shown(index);
    return fits(backup) ? backup : null;
  });

describe('a policy with a retention', () => {
  it('is refused without a rule and with a malformed one', async () => {
    expect(await client.problem('POST', '/policies', { ...settings, retention: {} })).toMatchObject({
      status: 400,
      code: 'retention_empty',
      field: 'retention',
      rule: 'at_least_one_rule',
    });
    for (const retention of [{ keep_last: 0 }, { keep_daily: 1.5 }, { keep_within: '3 months' }, { keep_last: 1, applies_to: 'some' }, { keep_hourly: 3 }]) {
      expect(await client.problem('POST', '/policies', { ...settings, retention })).toMatchObject({ status: 400, code: 'validation_failed' });
    }
  });

  it('keeps everything until it has one, and its preview says so', async () => {
    policy = (await system.api<PolicyResponse>('POST', '/policies', settings)).body;
    expect(policy.retention).toBeNull();
    const { body } = await system.api<PolicyPreviewResponse>('GET', `/policies/${policy.policy_id}/preview`);
    expect(body.sentence).toMatch(/Keeps every restore point\.$/);
    for (const type of ['full', 'incremental']) expect((await backedUp()).backup_type).toBe(type);
    expect(await becomes(0, ({ tiers }) => tiers.length > 0, 'a tier')).toMatchObject({ tiers: ['daily', 'weekly', 'monthly', 'yearly'], expiry: null });
    expect(await shown(1)).toMatchObject({ tiers: [], expiry: null });
  });

  it('is edited only with a confirmation if restore points would expire by that, which a dry run names', async () => {
    const retention = { keep_last: 1 };
    const simulated = await system.api<PolicySimulationResponse>('POST', '/policies/simulate', { policy_id: policy.policy_id, retention });
    expect(simulated).toMatchObject({
      status: 200,
      body: {
        kept: 1,
        expiring: 1,
        newly_expiring: 1,
        points: [{ backup_id: points[0]?.backup_id, reasons: [{ rule: 'keep_last', outcome: 'exceeded', period: null }] }],
      },
    });
    const edit = { ...settings, retention, version: 1 };
    expect(await client.problem('PUT', `/policies/${policy.policy_id}`, edit)).toMatchObject({ status: 409, code: 'retention_would_expire', expiring: 1 });
    // Rules for new restore points only let none of the old ones expire.
    expect((await system.api('PUT', `/policies/${policy.policy_id}`, { ...edit, retention: { keep_last: 1, applies_to: 'new' } })).status).toBe(200);
    const edited = await system.api<PolicyResponse>('PUT', `/policies/${policy.policy_id}`, { ...edit, version: 2, confirm_expiring: 1 });
    expect(edited).toMatchObject({ status: 200, body: { version: 3, retention: { keep_last: 1, keep_daily: null, applies_to: 'all' } } });
  });

  it('lets restore points expire with reasons and a day of grace, and pinning takes that back', async () => {
    const expired = await becomes(0, ({ expiry }) => expiry !== null, 'expired');
    expect(expired).toMatchObject({
      status: 'completed',
      expiry: { policy_id: policy.policy_id, policy_version: 3, reasons: [{ rule: 'keep_last', outcome: 'exceeded', period: null }], needed_by: null },
    });
    const { expired_at, grace_until } = expired.expiry ?? { expired_at: '', grace_until: '' };
    expect(Date.parse(grace_until) - Date.parse(expired_at)).toBe(DAY_MS);
    const pinned = await protect(0, 'pin', 'Before the migration.');
    expect(pinned).toMatchObject({
      status: 200,
      body: { expiry: null, pin: { reason: 'Before the migration.', by: expect.any(String), at: expect.any(String) } },
    });
    expect(await client.problem('DELETE', `/backups/${points[0]?.backup_id ?? ''}`)).toMatchObject({ status: 409, code: 'restore_point_pinned' });
    expect((await protect(0, 'hold', 'Case 17.')).body).toMatchObject({ hold: { reason: 'Case 17.' } });
    expect((await protect(0, 'unpin', 'It went well.')).body).toMatchObject({ pin: null, hold: { reason: 'Case 17.' }, expiry: null });
    expect(await client.problem('DELETE', `/backups/${points[0]?.backup_id ?? ''}`)).toMatchObject({ status: 409, code: 'restore_point_held' });
    expect((await protect(0, 'release', 'It is settled.')).body).toMatchObject({ hold: null });
    await becomes(0, ({ expiry }) => expiry !== null, 'expired again');
    const types = (await client.events(points[0]?.backup_id ?? '')).map(({ type }) => type).filter((type) => /Expir|[Pp]inned|Held|PointReleased/.test(type));
    expect(types).toEqual([
      'RestorePointExpired',
      'RestorePointExpiryWithdrawn',
      'RestorePointPinned',
      'RestorePointHeld',
      'RestorePointUnpinned',
      'RestorePointReleased',
      'RestorePointExpired',
    ]);
  });

  it('refuses to protect what is not a restore point, and without a reason', async () => {
    const nobody = '00000000-0000-4000-8000-000000000000';
    expect(await client.problem('POST', `/backups/${nobody}/pin`, { reason: 'r' })).toMatchObject({ status: 404, code: 'backup_not_found' });
    for (const change of ['pin', 'unpin', 'hold', 'release']) {
      expect(await client.problem('POST', `/backups/${points[0]?.backup_id ?? ''}/${change}`, {})).toMatchObject({ status: 400, code: 'validation_failed' });
    }
  });

  it('after the grace period keeps the files that later restore points need, and removes a chain that has expired as a whole, newest first', async () => {
    await system.kill('SIGTERM');
    const failpoint = join(system.directory, 'failpoint');
    const env = { SENDENSE_EXPIRY_GRACE_SECONDS: '0', SENDENSE_FAILPOINT: `file:${failpoint}` };
    await system.start(env);
    // Its grace period is a day, whatever the setting is now.
    await protect(0, 'pin', 'To begin again.');
    await protect(0, 'unpin', 'To begin again.');
    const waiting = await becomes(0, ({ expiry }) => expiry?.needed_by !== null && expiry !== null, 'needed by the incremental on it');
    expect(waiting).toMatchObject({ status: 'completed', expiry: { needed_by: [points[1]?.backup_id] } });
    expect(existsSync(folderOf(0))).toBe(true);
    // Killed while it removes the chain, the hub goes on where it was.
    await writeFile(failpoint, 'after:BackupDeleted:1');
    const run = await begun();
    await system.ended(RUN_PATIENCE_MS);
    await rm(failpoint);
    await system.start(env);
    expect((await ended(run)).full_reason).toBe('chain_too_long');
    for (const index of [0, 1]) await becomes(index, ({ status }) => status === 'deleted', 'deleted');
    await until('the files to be removed', () => Promise.resolve(!existsSync(folderOf(0)) && !existsSync(folderOf(1))));
    const [older, newer] = await Promise.all(
      [0, 1].map(async (index) => (await client.events(points[index]?.backup_id ?? '')).find(({ type }) => type === 'BackupDeleted')),
    );
    expect(String(newer?.position) < String(older?.position)).toBe(true);
    expect(await shown(2)).toMatchObject({ status: 'completed', expiry: null });
    expect(existsSync(folderOf(2))).toBe(true);
  });

  it('that is deleted lets nothing expire', async () => {
    expect((await backedUp()).backup_type).toBe('incremental');
    await becomes(2, ({ expiry }) => expiry !== null, 'expired');
    expect((await system.api('DELETE', `/policies/${policy.policy_id}`)).status).toBe(204);
    await becomes(2, ({ expiry }) => expiry === null, 'kept again');
    await client.requireNothingHeld();
  });
});

describe('expired restore points between two that are kept', () => {
  it('are pruned, and what is kept restores the same', async () => {
    await system.kill('SIGTERM');
    await system.start({ SENDENSE_EXPIRY_GRACE_SECONDS: '0', SENDENSE_CHAIN_MAX_LENGTH: '10' });
    const vm = await ImageVm.create(join(system.imageRoot, 'db-1'), [{ file: 'disk0.qcow2', mib: 8, dataMib: 1 }]);
    await client.registerVm('db-1', vm.folder);
    // The first one is the yearly.
    const retention = { keep_last: 1, keep_yearly: 1 };
    const made = { ...settings, name: 'databases', include: [{ by: 'name', value: 'db-*' }], retention };
    policy = (await system.api<PolicyResponse>('POST', '/policies', made)).body;
    points.length = 0;
    const truth: string[] = [];
    for (let count = 0; count < 4; count++) {
      await vm.write('disk0.qcow2', count * MIB, MIB + 65_536);
      truth.push(...(await vm.copyTo(join(system.directory, `truth-${count}`))).values());
      await backedUp();
    }
    for (const index of [1, 2]) await becomes(index, ({ status }) => status === 'deleted', 'deleted');
    await until('the files to be removed', () => Promise.resolve(!existsSync(folderOf(1)) && !existsSync(folderOf(2))));
    expect(await shown(3)).toMatchObject({ status: 'completed', backup_type: 'incremental', parent_backup_id: points[0]?.backup_id, expiry: null });
    const chain = await until('the pruning to be done', async () => {
      const { body } = await system.api<ChainResponse>('GET', '/backups/chain?vm_name=db-1');
      return body.pruning.length === 0 ? body : null;
    });
    expect(chain).toMatchObject({ backup_count: 2, pruning_failure: null });
    for (const { backup_id, disk_results } of chain.backups) {
      const kept = points.findIndex((point) => point.backup_id === backup_id);
      await runFile('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', disk_results[0]?.qcow2_path ?? '', truth[kept] ?? '']);
    }
    await vm.write('disk0.qcow2', 5 * MIB, MIB);
    expect((await backedUp()).backup_type).toBe('incremental');
    await client.requireNothingHeld();
  });
});
