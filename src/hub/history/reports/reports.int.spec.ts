import { createHash, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import canonicalize from 'canonicalize';
import request from 'supertest';
import { OPEN_API, API_TOKEN } from '../../../../test/support/http-app.js';
import { missingInOpenApi } from '../../../../test/support/openapi-complete.js';
import { copyPlan, copyProof, copyRequest } from '../../../../test/support/copy-histories.js';
import { POLICY_SETTINGS } from '../../../../test/support/policy-histories.js';
import { type QueryApp, startQueryApp } from '../../../../test/support/query-app.js';
import type { DomainEvent } from '../../../kernel/event.js';
import { openApiDocument } from '../../operations/http/open-api.js';
import { ReportsModule } from './reports.module.js';

const REPOSITORY = '0199a3c0-2b40-7d10-b1de-64f0a52c9e02';
const POLICY = '0199a3c0-5511-7c3e-8a55-9b1d3c1f0e5b';
const FILE_BYTES = 4096;
const HOUR_MS = 3_600_000;
const NOW = Date.now();
const REPORTS = ['protection', 'runs', 'sla', 'restore-evidence', 'changes', 'capacity', 'three-two-one'] as const;

let running: QueryApp;
let head: string;
let actor = 'api:test';
const vms = { web: randomUUID(), db: randomUUID(), bare: randomUUID(), hostile: randomUUID() };
const HOSTILE = `=1+1"<script>alert(1)</script>`;

beforeAll(async () => {
  running = await startQueryApp({ imports: [ReportsModule] });
  await register('web', 'web-1', hoursAgo(50));
  await register('db', 'db-1', hoursAgo(50));
  await register('bare', 'bare', hoursAgo(50));
  await register('hostile', HOSTILE, hoursAgo(50));
  const settings = { ...POLICY_SETTINGS, repository_id: REPOSITORY, rpo_seconds: 4 * 3600, include: ['web-*', 'db-*'].map((value) => ({ by: 'name', value })) };
  await append(`policy-${POLICY}`, { type: 'PolicyCreated', data: { policy_id: POLICY, version: 1, settings, created_at: hoursAgo(49) } });
  await backUp('web', hoursAgo(30));
  await backUp('web', hoursAgo(1));
  await backUp('db', hoursAgo(20));
}, 120_000);

afterAll(async () => {
  await running.close();
});

function hoursAgo(hours: number): string {
  return new Date(NOW - hours * HOUR_MS).toISOString();
}

async function append(stream: string, ...events: readonly DomainEvent[]): Promise<void> {
  const metadata = {
    $correlationId: randomUUID(),
    $causationId: randomUUID(),
    actor,
    hub_id: randomUUID(),
    schema_version: 1,
    time: new Date().toISOString(),
  };
  const appended = events.map(({ type, data }) => ({ id: randomUUID(), type, data, metadata }));
  ({ position: head } = await running.store.append(stream, 'any', appended));
}

async function register(vm: keyof typeof vms, name: string, registered_at: string): Promise<void> {
  const data = { vm_id: vms[vm], name, node_id: 'n1', source: 'image', source_ref: `/images/${vm}`, disks: [], registered_at };
  await append(`vm-${vms[vm]}`, { type: 'VmRegistered', data });
}

async function backUp(vm: keyof typeof vms, instant: string): Promise<string> {
  const backup_id = randomUUID();
  const requested = { backup_id, vm_id: vms[vm], vm_name: vm, node_id: 'n1', repository_id: REPOSITORY, backup_type: 'auto', policy_id: POLICY };
  await append(
    `backup-${backup_id}`,
    { type: 'BackupRequested', data: { ...requested, requested_at: instant } },
    { type: 'SnapshotTaken', data: { instant, change_ids: [] } },
    {
      type: 'RestorePointSealed',
      data: {
        folder: backup_id,
        files: [{ disk_id: 0, file: 'disk0.qcow2', size_bytes: FILE_BYTES, sha256: 'ab', mtime_ns: '1' }],
        manifest_sha256: 'cd',
        sealed_at: instant,
      },
    },
    { type: 'BackupCompleted', data: { completed_at: instant } },
  );
  return backup_id;
}

/** A run for the VM `web` whose first attempt failed. */
async function run({ due_at, occurrence_id }: { due_at: string; occurrence_id: string }, outcome: 'completed' | 'failed'): Promise<void> {
  const vm = { vm_id: vms.web, vm_name: 'web-1', because: 'name web-*', start_at: due_at };
  const times = { due_at, wall_time: due_at, time_zone: 'UTC', started_at: due_at };
  const identity = { occurrence_id, policy_id: POLICY, policy_name: 'nightly', policy_version: 1, trigger: 'schedule' };
  const attempt = async (number: number, retry_at: string | null, ended: string): Promise<DomainEvent> => {
    const failed = ended === 'failed' ? { code: 'node_silent', detail: 'Nothing was heard.' } : { code: null, detail: null };
    await (ended === 'failed' ? fail('web', due_at) : backUp('web', due_at));
    return { type: 'OccurrenceBackupEnded', data: { vm_id: vms.web, attempt: number, outcome: ended, ...failed, retry_at, ended_at: due_at } };
  };
  const started = { ...identity, ...times, repository_id: REPOSITORY, backup_type: 'auto', vms: [vm], left_out: [] };
  await append(
    `occurrence-${occurrence_id}`,
    { type: 'OccurrenceStarted', data: started },
    await attempt(1, due_at, 'failed'),
    await attempt(2, null, outcome),
    { type: 'OccurrenceFinished', data: { completed: 1, not_completed: 0, finished_at: new Date(Date.parse(due_at) + 60_000).toISOString() } },
  );
}

async function fail(vm: keyof typeof vms, at: string, policy_id: string | null = POLICY): Promise<void> {
  const backup_id = randomUUID();
  const requested = { backup_id, vm_id: vms[vm], vm_name: vm, node_id: 'n1', repository_id: REPOSITORY, backup_type: 'auto', policy_id };
  const failed = { backup_id, stage: 'transfer', code: 'node_silent', detail: 'Nothing was heard.', failed_at: at };
  await append(`backup-${backup_id}`, { type: 'BackupRequested', data: { ...requested, requested_at: at } }, { type: 'BackupFailed', data: failed });
}

async function get(path: string, status = 200): Promise<request.Response> {
  const answer = await request(running.app.getHttpServer()).get(path).set('Authorization', `Bearer ${API_TOKEN}`);
  expect([path, answer.status, answer.status === status ? null : answer.body]).toEqual([path, status, null]);
  return answer;
}

async function report(name: string, query = ''): Promise<request.Response> {
  return get(`/api/v1/reports/${name}?after=${head}${query}`);
}

describe.each(REPORTS)('the report %s', (name) => {
  it('is the same when it is computed again as of its position, whatever happened since', async () => {
    const first = await report(name);
    expect(first.body.query.as_of).toBe(head);
    await append(`vm-${vms.bare}`, { type: 'VmLabelsSet', data: { labels: ['late'], set_at: hoursAgo(0) } });
    await backUp('db', hoursAgo(0));
    await run({ due_at: hoursAgo(2), occurrence_id: randomUUID() }, 'completed');
    await append(`backup-${await backUp('db', hoursAgo(0))}`, { type: 'RestorePointPinned', data: { reason: 'A test.', pinned_at: hoursAgo(0) } });
    const later = await report(name);
    expect(later.body.sha256).not.toBe(first.body.sha256);
    const again = await get(first.headers['report-path'] ?? '');
    expect(again.body).toEqual(first.body);
    expect([again.headers['report-sha256'], again.headers['as-of-position']]).toEqual([first.body.sha256, first.body.query.as_of]);
  });

  it('has a hash that anyone can compute', async () => {
    const { layout: _layout, sha256, ...body } = (await report(name)).body;
    expect(
      createHash('sha256')
        .update(canonicalize(body) ?? '')
        .digest('hex'),
    ).toBe(sha256);
  });

  it('is a CSV file with the same hash', async () => {
    const json = await report(name);
    const path = json.headers['report-path'] ?? '';
    const csv = await get(`${path}&format=csv`);
    expect([csv.headers['content-type'], csv.headers['report-sha256']]).toEqual(['text/csv; charset=utf-8; header=present', json.body.sha256]);
    const [table] = json.body.layout.tables;
    expect(csv.headers['content-disposition']).toContain(`sendense-${name}-${json.body.sha256.slice(0, 12)}-${table.name}.csv`);
    expect(csv.text.split('\r\n')[0]).toBe(table.columns.map((column: { name: string }) => column.name).join(','));
  });

  it('is a page that runs nothing', async () => {
    const json = await report(name);
    const html = await get(`${json.headers['report-path'] ?? ''}&format=html`);
    expect(html.headers['content-type']).toBe('text/html; charset=utf-8');
    expect(html.text).toContain(json.body.sha256);
    expect(html.text).not.toContain('<script');
    const policy = html.headers['content-security-policy'] ?? '';
    const style = /<style>(.*?)<\/style>/s.exec(html.text)?.[1] ?? '';
    expect(policy).toContain(`default-src 'none'; style-src 'sha256-${createHash('sha256').update(style).digest('base64')}';`);
    expect(policy).not.toContain('unsafe');
  });

  it('refuses what it does not know', async () => {
    for (const [query, field, rule] of [
      ['format=pdf', 'format', 'is_in'],
      ['odd=1', 'odd', 'unknown_field'],
      ['as_of=yesterday', 'as_of', 'instant_or_position'],
      ['as_of=2999-01-01T00:00:00Z', 'as_of', 'not_in_future'],
    ]) {
      expect((await get(`/api/v1/reports/${name}?${query}`, 400)).body.errors).toMatchObject([{ field, rule }]);
    }
  });

  it('is empty before the first event', async () => {
    const { body } = await get(`/api/v1/reports/${name}?as_of=2001-01-01T00:00:00Z`);
    expect(Object.values(body.tables)).toEqual(body.layout.tables.map(() => []));
    expect(body.query.as_of).toBe('2001-01-01T00:00:00.000Z');
  });
});

describe('the protection of VMs', () => {
  it('shows all VMs, also those without a policy or backup', async () => {
    await backUp('web', hoursAgo(1));
    const { totals, tables } = (await report('protection')).body;
    expect(totals).toMatchObject({ vms: 4, without_policy: 2, never_backed_up: 2, without_restore_point: 2 });
    const rows = Object.fromEntries(tables.vms.map((row: { vm_id: string }) => [row.vm_id, row]));
    expect(rows[vms.bare]).toMatchObject({ vm: 'bare', status: 'without_policy', policies: null, last_good: null, age_seconds: null, restore_points: 0 });
    expect(rows[vms.web]).toMatchObject({ status: 'kept', policies: 'nightly', rpo_policy_version: 1, rpo_seconds: 14_400 });
    expect(rows[vms.web].age_seconds).toBeLessThan(3700);
  });

  it('judges ages at the instant that is named', async () => {
    const { body } = await report('protection');
    const later = await get(`/api/v1/reports/protection?as_of=${body.query.as_of}&at=${new Date().toISOString()}`);
    expect(later.body.query.at > body.query.at).toBe(true);
    for (const [at, rule] of [
      ['2999-01-01T00:00:00Z', 'not_in_future'],
      ['2001-01-01T00:00:00Z', 'not_before_as_of'],
      ['today', 'is_instant'],
    ]) {
      expect((await get(`/api/v1/reports/protection?at=${at}`, 400)).body.errors).toMatchObject([{ field: 'at', rule }]);
    }
  });

  it('counts good copies of the last good restore point', async () => {
    const backup_id = await backUp('web', hoursAgo(0));
    const [copy_id, other_id] = [randomUUID(), randomUUID()];
    const to = { backup_id, vm_id: vms.web, vm_name: 'web', source_repository_id: REPOSITORY, chain_id: 'c1', policy_id: null };
    const requested = { ...to, repository_id: 'second', bandwidth_limit_bps: null, requested_at: hoursAgo(0) };
    const completed = { type: 'CopyCompleted', data: { completed_at: hoursAgo(0) } };
    for (const id of [copy_id, other_id]) await append(`copy-${id}`, { type: 'CopyRequested', data: { ...requested, copy_id: id } }, completed);
    const rowOf = async () => (await report('protection')).body.tables.vms.find(({ vm_id }: { vm_id: string }) => vm_id === vms.web);
    expect(await rowOf()).toMatchObject({ copies: 2 });
    const damage = { code: 'file_altered', file: null, detail: 'Why.', detected_at: hoursAgo(0) };
    await append(`copy-${copy_id}`, { type: 'CopyDamaged', data: damage });
    await append(`copy-${other_id}`, { type: 'CopyDeleted', data: { deleted_at: hoursAgo(0) } });
    expect(await rowOf()).toMatchObject({ copies: 0 });
  });

  it('disarms a name that is a formula or markup', async () => {
    const csv = await report('protection', '&format=csv');
    expect(csv.text).toContain(`"'=1+1""<script>alert(1)</script>",without_policy`);
    const html = await report('protection', '&format=html');
    expect(html.text).toContain('=1+1&quot;&lt;script&gt;alert(1)&lt;/script&gt;');
  });
});

describe('the runs of a period', () => {
  it('are those that were due in it, with the failures of each attempt', async () => {
    const [before, within] = [hoursAgo(100), hoursAgo(80)];
    await run({ due_at: before, occurrence_id: randomUUID() }, 'completed');
    await run({ due_at: within, occurrence_id: randomUUID() }, 'failed');
    await fail('db', hoursAgo(75), null);
    const skipped = { due_at: hoursAgo(70), wall_time: 'w', time_zone: 'UTC', reason: 'blackout', detail: 'A blackout.', recorded_at: hoursAgo(70) };
    const identity = { occurrence_id: randomUUID(), policy_id: POLICY, policy_name: 'nightly', policy_version: 1, trigger: 'schedule' };
    await append(`occurrence-${identity.occurrence_id}`, { type: 'OccurrenceSkipped', data: { ...identity, ...skipped } });
    const { totals, tables } = (await report('runs', `&from=${hoursAgo(90)}&until=${hoursAgo(60)}`)).body;
    expect(tables.runs).toMatchObject([
      { due_at: within, policy: 'nightly', outcome: 'started', vms: 1, completed: 0, not_completed: 1, retried: 1 },
      { due_at: skipped.due_at, outcome: 'skipped', reason: 'blackout', vms: 0 },
    ]);
    expect(tables.failures).toMatchObject([
      { vm: 'web', due_at: within, attempts: 2, outcome: 'failed', code: 'node_silent', stage: 'transfer' },
      { vm: 'web', due_at: within, attempts: 2 },
      { vm: 'db', policy: null, attempts: null },
    ]);
    expect(totals).toMatchObject({ runs: 2, started: 1, skipped: 1, failures: 3 });
    const csv = await report('runs', `&from=${hoursAgo(90)}&until=${hoursAgo(60)}&format=csv&table=failures`);
    expect(csv.text.split('\r\n')).toHaveLength(5);
  });

  it('are found in any number', async () => {
    const { totals } = (await report('runs', `&until=${hoursAgo(200)}`)).body;
    expect(totals.runs).toBe(0);
    for (let index = 0; index < 205; index += 1) {
      const identity = { occurrence_id: randomUUID(), policy_id: POLICY, policy_name: 'nightly', policy_version: 1, trigger: 'schedule' };
      const missed = { due_at: hoursAgo(400 - (index % 3)), wall_time: 'w', time_zone: 'UTC', reason: 'hub_down', detail: 'd', recorded_at: hoursAgo(300) };
      await append(`occurrence-${identity.occurrence_id}`, { type: 'OccurrenceMissed', data: { ...identity, ...missed } });
    }
    expect((await report('runs', `&until=${hoursAgo(200)}`)).body.totals).toMatchObject({ runs: 205, missed: 205 });
  });

  it('refuse a period that is none, or one that is too long', async () => {
    for (const [query, field, rule] of [
      ['from=2020-01-02T00:00:00Z&until=2020-01-01T00:00:00Z', 'from', 'before_until'],
      ['from=2020-01-01T00:00:00Z&until=2022-01-01T00:00:00Z', 'from', 'max_period'],
      ['until=2999-01-01T00:00:00Z', 'until', 'not_in_future'],
      ['from=monday', 'from', 'is_instant'],
      ['table=failures', 'table', 'only_with_csv'],
      ['format=csv&table=odd', 'table', 'is_in'],
    ]) {
      expect((await get(`/api/v1/reports/runs?${query}`, 400)).body.errors).toMatchObject([{ field, rule }]);
    }
  });
});

describe('the service level', () => {
  it('is that of the period, by the versions of the policies at each moment', async () => {
    const [from, until] = [hoursAgo(45), hoursAgo(5)];
    const broken = { vm_id: vms.db, vm_name: 'db-1', policy_id: POLICY, policy_version: 1, rpo_seconds: 4 * 3600, backup_id: null, instant: null };
    await append(`rpo-${vms.db}`, { type: 'RpoBroken', data: { ...broken, broken_at: hoursAgo(25), recorded_at: hoursAgo(25) } });
    const restored = { vm_id: vms.db, reason: 'restore_point', backup_id: null, instant: null, broken_at: hoursAgo(25) };
    await append(`rpo-${vms.db}`, { type: 'RpoRestored', data: { ...restored, restored_at: hoursAgo(20), recorded_at: hoursAgo(20) } });
    const before = (await report('sla', `&from=${from}&until=${until}`)).body;
    const rowOf = (body: { tables: { vms: { vm_id: string }[] } }, vm_id: string) => body.tables.vms.find((row) => row.vm_id === vm_id);
    expect(rowOf(before, vms.db)).toMatchObject({ within_percent: 87.5, breaches: 1, promised_seconds: 40 * 3600, policies: 'nightly (version 1)' });
    expect(rowOf(before, vms.bare)).toMatchObject({ within_percent: null, promised_seconds: 0, policies: null, rpo_seconds: null });
    // From its registration to its first restore point.
    expect(rowOf(before, vms.db)).toMatchObject({ worst_gap_seconds: 30 * 3600 });

    const settings = { ...POLICY_SETTINGS, repository_id: REPOSITORY, rpo_seconds: 60, include: [{ by: 'name', value: '*' }] };
    await append(`policy-${POLICY}`, { type: 'PolicyEdited', data: { version: 2, settings, edited_at: hoursAgo(4) } });
    const after = (await report('sla', `&from=${from}&until=${until}`)).body;
    expect(after.tables).toEqual(before.tables);
    const whole = (await report('sla', `&from=${from}`)).body;
    expect(rowOf(whole, vms.bare)).toMatchObject({ rpo_seconds: 60, policies: 'nightly (version 2)' });
    expect(rowOf(whole, vms.db)).toMatchObject({ policies: 'nightly (version 1, 2)' });
  });

  it('counts the runs of each VM, and those that did not start', async () => {
    const { body } = await report('sla', `&from=${hoursAgo(49)}&until=${hoursAgo(0.001)}`);
    const identity = { occurrence_id: randomUUID(), policy_id: POLICY, policy_name: 'nightly', policy_version: 1, trigger: 'schedule' };
    const missed = { due_at: hoursAgo(40), wall_time: 'w', time_zone: 'UTC', reason: 'hub_down', detail: 'd', recorded_at: hoursAgo(40) };
    await append(`occurrence-${identity.occurrence_id}`, { type: 'OccurrenceMissed', data: { ...identity, ...missed } });
    await run({ due_at: hoursAgo(39), occurrence_id: randomUUID() }, 'completed');
    await run({ due_at: hoursAgo(38), occurrence_id: randomUUID() }, 'failed');
    const { totals } = (await report('sla', `&from=${hoursAgo(49)}&until=${hoursAgo(0.001)}`)).body;
    const more = (name: string): number => totals[name] - body.totals[name];
    // The missed run was expected of both VMs that the policy selected at its time.
    expect(['expected', 'made', 'late', 'failed', 'missed'].map(more)).toEqual([4, 1, 1, 1, 2]);
  });

  it('ends with a VM that was removed, and keeps it in the report', async () => {
    await append(`vm-${vms.hostile}`, { type: 'VmRemoved', data: { removed_at: hoursAgo(3) } });
    const { tables } = (await report('sla', `&from=${hoursAgo(10)}`)).body;
    expect(tables.vms.map((row: { vm: string }) => row.vm)).toContain(HOSTILE);
    const later = (await report('sla', `&from=${hoursAgo(2)}`)).body;
    expect(later.tables.vms.map((row: { vm: string }) => row.vm)).not.toContain(HOSTILE);
  });

  it('begins with what had been recorded by then', async () => {
    const { query } = (await report('sla')).body;
    // All of it was recorded before this period, whose beginning is a state and no event.
    const { body } = await report('sla', `&from=${query.until}`);
    expect(body.totals).toMatchObject({ vms: 3, promised: 3 });
  });
});

describe('the evidence of restores', () => {
  async function evidenceOf(vm: keyof typeof vms) {
    const { tables } = (await report('restore-evidence')).body;
    return tables.vms.find((row: { vm_id: string }) => row.vm_id === vms[vm]);
  }

  async function access(backup_id: string, operation: string, outcome: 'completed' | 'cut' | null, options = {}): Promise<void> {
    const access_id = randomUUID();
    const accessed = { access_id, operation, backup_id, vm_name: 'db', mount_id: null, disk_index: 0, path: '/etc/hosts', resolved_path: null, options };
    await append(`access-${backup_id}`, { type: 'RestorePointAccessed', data: { ...accessed, source_address: '192.0.2.7', accessed_at: hoursAgo(0) } });
    if (outcome === null) return;
    await append(`access-${backup_id}`, { type: 'RestorePointAccessEnded', data: { access_id, bytes_sent: 12, outcome, detail: null, ended_at: hoursAgo(0) } });
  }

  it('grows with each verification, boot check, download and restore that succeeds', async () => {
    const backup_id = await backUp('db', hoursAgo(0));
    expect(await evidenceOf('db')).toMatchObject({ evidence: 'none', verified: null, failed: null });
    expect(await evidenceOf('bare')).toMatchObject({ evidence: 'no_restore_point', restore_points: 0 });
    const of = { backup_id, vm_id: vms.db, vm_name: 'db', repository_id: REPOSITORY, chain_id: 'c1' };
    const boot = { node_id: 'n1', console_text: null, guest_agent: true, timeout_seconds: 60, memory_mib: null, disks: [] };
    const verification_id = randomUUID();
    const checked = { verdict: 'booted', sign: 'guest_agent', detail: 'd', seconds: 3, changes: [], artefacts: [], screenshot_problem: null };
    const requested = { ...of, verification_id, repository_path: '/r', points: [], requested_at: hoursAgo(3), boot };
    await append(
      `verification-${verification_id}`,
      { type: 'VerificationRequested', data: requested },
      { type: 'BootCheckStarted', data: { attempt: 1, files_checked: 1, bytes_checked: 1, started_at: hoursAgo(3) } },
      { type: 'BootChecked', data: { ...checked, checked_at: hoursAgo(2) } },
    );
    expect(await evidenceOf('db')).toMatchObject({ evidence: 'none', booted: null });
    await append(`verification-${verification_id}`, { type: 'VerificationPassed', data: { files_checked: 1, bytes_checked: 1, finished_at: hoursAgo(2) } });
    expect(await evidenceOf('db')).toMatchObject({ evidence: 'booted', verified: hoursAgo(2), booted: hoursAgo(2), verification_id });

    await access(backup_id, 'download', 'cut');
    await access(backup_id, 'download', null);
    await access(backup_id, 'download', 'completed', { range: '0-3' });
    await access(backup_id, 'list_files', null);
    await access(backup_id, 'download_disk', 'completed');
    expect(await evidenceOf('db')).toMatchObject({ files_restored: null });
    await access(backup_id, 'download_directory', 'completed');
    expect(await evidenceOf('db')).toMatchObject({ evidence: 'booted', files_restored: expect.any(String) });

    const restore = { ...of, repository_path: '/r', target_path: '/restored', format: 'raw', chain: 'flattened', overwrite: false, disks: [] };
    for (const ended of [
      { type: 'RestoreJobFailed', data: { stage: 'copying', code: 'target_full', detail: 'No space.', failed_at: hoursAgo(1) } },
      { type: 'RestoreJobCompleted', data: { files: ['/restored/disk0.raw'], completed_at: hoursAgo(0.5) } },
    ]) {
      const job_id = randomUUID();
      const asked = { type: 'RestoreJobRequested', data: { ...restore, job_id, chain_id: 'c1', requested_at: hoursAgo(1) } };
      await append(`restoreJob-${job_id}`, asked, ended);
      if (ended.type === 'RestoreJobFailed') expect(await evidenceOf('db')).toMatchObject({ evidence: 'booted', failure: 'target_full: No space.' });
      else expect(await evidenceOf('db')).toMatchObject({ evidence: 'restored', restored_as: 'disks', job_id, failure_is_last: 'no' });
    }
  });

  it('is in the log of who read what', async () => {
    const { tables, totals } = (await report('changes')).body;
    expect(tables.accesses.map((row: Record<string, unknown>) => [row['operation'], row['outcome']])).toEqual([
      ['download', 'cut'],
      ['download', null],
      ['download', 'completed'],
      ['download_disk', 'completed'],
      ['download_directory', 'completed'],
      ['restore_disks', 'failed (target_full)'],
      ['restore_disks', 'completed'],
    ]);
    expect(tables.accesses[0]).toMatchObject({ by: 'api:test', address: '192.0.2.7', target: '/etc/hosts', bytes_sent: 12, vm: 'db' });
    expect(totals).toMatchObject({ downloads: 5, restores: 2 });
  });
});

describe('changes', () => {
  it('are those of the period, with who made them and why', async () => {
    const from = new Date().toISOString();
    const settings = { ...POLICY_SETTINGS, repository_id: REPOSITORY, rpo_seconds: 90, include: [{ by: 'name', value: '*' }] };
    await append(`policy-${POLICY}`, { type: 'PolicyEdited', data: { version: 3, settings, edited_at: hoursAgo(0) } });
    const [expired, asked] = [await backUp('web', hoursAgo(0)), await backUp('web', hoursAgo(0))];
    const reasons = [{ rule: 'keep_daily', outcome: 'exceeded', period: '2027-01-05' }];
    const expiry = { policy_id: POLICY, policy_version: 3, reasons, expired_at: hoursAgo(0), grace_until: hoursAgo(0) };
    await append(`backup-${expired}`, { type: 'RestorePointExpired', data: expiry });
    actor = 'system:retention';
    await append(`backup-${expired}`, { type: 'BackupDeleted', data: { deleted_at: hoursAgo(0) } });
    actor = 'api:test';
    await append(`backup-${asked}`, { type: 'RestorePointHeld', data: { reason: 'A dispute.', held_at: hoursAgo(0) } });
    await append(`backup-${asked}`, { type: 'RestorePointReleased', data: { reason: 'Settled.', released_at: hoursAgo(0) } });
    await append(`backup-${asked}`, { type: 'BackupDeleted', data: { deleted_at: hoursAgo(0) } });
    const { tables, totals } = (await report('changes', `&from=${from}`)).body;
    expect(tables.policies).toMatchObject([{ by: 'api:test', policy: 'nightly', change: 'edited', version: 3, settings: 'rpo_seconds: 60 -> 90', expired: 1 }]);
    expect(tables.deletions).toMatchObject([
      { by: 'system:retention', what: 'restore_point', name: 'web', reason: 'expired, nightly (version 3): keep_daily exceeded', size_bytes: FILE_BYTES },
      { by: 'api:test', what: 'restore_point', reason: 'requested', id: asked },
    ]);
    expect(tables.protections).toMatchObject([
      { change: 'held', reason: 'A dispute.', vm: 'web' },
      { change: 'released', reason: 'Settled.' },
    ]);
    expect(totals).toMatchObject({ restore_points_deleted: 2, deleted_by_request: 1 });
    expect((await report('changes', `&until=${from}`)).body.tables.deletions).toEqual(expect.not.arrayContaining([expect.objectContaining({ id: asked })]));
  });
});

describe('the capacity', () => {
  it('counts files from their sealing to their removal, and the growth in the period', async () => {
    const begin = (await report('capacity')).body;
    const from = new Date().toISOString();
    const sizeOf = (body: { tables: { vms: { vm_id: string }[] } }) => body.tables.vms.find(({ vm_id }) => vm_id === vms.db);
    const made = await backUp('db', hoursAgo(0));
    await backUp('db', hoursAgo(0));
    const grown = (await report('capacity', `&from=${from}`)).body;
    expect(sizeOf(grown)).toMatchObject({ size_at_begin_bytes: begin.tables.vms.find((row: { vm_id: string }) => row.vm_id === vms.db).size_bytes });
    expect(sizeOf(grown)).toMatchObject({ growth_bytes: 2 * FILE_BYTES, repository: REPOSITORY });
    await append(`backup-${made}`, { type: 'BackupDeleted', data: { deleted_at: hoursAgo(0) } });
    expect(sizeOf((await report('capacity', `&from=${from}`)).body)).toMatchObject({ growth_bytes: 2 * FILE_BYTES });
    await append(`backup-${made}`, { type: 'RestorePointFilesRemoved', data: { folder: made } });
    const shrunk = (await report('capacity', `&from=${from}`)).body;
    expect(sizeOf(shrunk)).toMatchObject({ growth_bytes: FILE_BYTES });
    expect(shrunk.totals.growth_bytes).toBe(FILE_BYTES);
  });
});

it('says of each VM whether three copies exist, on two kinds of storage, one off-site', async () => {
  const [far, parent, backupId] = [randomUUID(), await backUp('web', hoursAgo(3)), await backUp('web', hoursAgo(2))];
  const rowOf = async () => (await report('three-two-one', '&within_hours=4')).body.tables.vms.find(({ vm_id }: { vm_id: string }) => vm_id === vms.web);
  expect(await rowOf()).toMatchObject({ verdict: 'broken', three: 'no', missing: expect.stringContaining('second_repository') });
  for (const [repository_id, name] of [
    [REPOSITORY, 'vault'],
    [far, 'far'],
  ] as const) {
    const created = { repository_id, name, type: 'local', path: `/srv/${name}`, created_at: hoursAgo(9) };
    await append(`repository-${repository_id}`, { type: 'RepositoryCreated', data: created });
  }
  const copy = async (id: string, parent_backup_id: string | null): Promise<string> => {
    const copyId = randomUUID();
    await append(
      `copy-${copyId}`,
      { type: 'CopyRequested', data: { ...copyRequest, copy_id: copyId, backup_id: id, vm_id: vms.web, repository_id: far } },
      { type: 'CopyPlanned', data: { ...copyPlan, form: 'identical', parent_backup_id, planned_at: hoursAgo(1) } },
      { type: 'CopyVerified', data: { ...copyProof, verified_at: hoursAgo(1) } },
      { type: 'CopyCompleted', data: { completed_at: hoursAgo(1) } },
    );
    return copyId;
  };
  const parentCopy = await copy(parent, null);
  await copy(backupId, parent);
  const set = (repository_id: string, medium: string, off_site: boolean): Promise<void> =>
    append(`place-${repository_id}`, { type: 'RepositoryPlaceSet', data: { repository_id, site: 'Bonn', off_site, medium, set_at: hoursAgo(1) } });
  await set(REPOSITORY, 'local_disk', false);
  await set(far, 'network_share', true);
  expect(await rowOf()).toMatchObject({ verdict: 'kept', three: 'yes', two: 'yes', one: 'yes', backup_id: backupId, missing: null });
  const damage = { code: 'file_altered', file: null, detail: 'altered', detected_at: hoursAgo(0), ranges: [], verification_id: null } as const;
  await append(`copy-${parentCopy}`, { type: 'CopyDamagedV2', data: damage });
  expect(await rowOf()).toMatchObject({ verdict: 'broken', three: 'no' });
});

it('forecasts when a repository is full, from measurements of several days', async () => {
  for (let day = 6; day >= 0; day -= 1) {
    const measured = { repository_id: REPOSITORY, total_bytes: 1000, free_bytes: 300 + day * 100, measured_at: hoursAgo(day * 24) };
    await append(`capacity-${REPOSITORY}`, { type: 'CapacityMeasured', data: measured });
  }
  const row = (await report('capacity')).body.tables.repositories.find(({ repository_id }: { repository_id: string }) => repository_id === REPOSITORY);
  const full_on = new Date(NOW + 3 * 24 * HOUR_MS).toISOString().slice(0, 10);
  expect(row).toMatchObject({ total_bytes: 1000, free_bytes: 300, measured_at: hoursAgo(0), full_on, forecast: 'full' });
});

it('answers several that are asked for at once, each as of its instant', async () => {
  const first = (await report('protection')).body;
  await backUp('web', hoursAgo(0));
  const paths = [
    '/api/v1/reports/protection',
    `/api/v1/reports/protection?as_of=2001-01-01T00:00:00Z`,
    `/api/v1/reports/protection?as_of=${first.query.as_of}`,
  ];
  const answers = await Promise.all([...paths, ...paths].map(async (path) => (await get(path)).body.query.as_of));
  expect(answers).toEqual([head, '2001-01-01T00:00:00.000Z', first.query.as_of, head, '2001-01-01T00:00:00.000Z', first.query.as_of]);
});

it('documents every route completely', () => {
  expect(missingInOpenApi(openApiDocument(running.app, OPEN_API))).toEqual([]);
});
