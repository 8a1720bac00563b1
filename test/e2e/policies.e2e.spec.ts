import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { AuditEventResponse } from '../../src/hub/history/audit/audit-event.response.js';
import type { OccurrenceResponse } from '../../src/hub/backup/policies/model/occurrence.response.js';
import type { PolicyResponse } from '../../src/hub/backup/policies/model/policy.response.js';
import type { PolicyPreviewResponse } from '../../src/hub/backup/policies/preview-policy/preview-policy.dto.js';
import { BackupClient } from '../support/backup-client.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';

jest.setTimeout(240_000);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo');

/** The shortest interval is a minute. */
const RUN_PATIENCE_MS = 120_000;
const NOBODY = '00000000-0000-4000-8000-000000000000';

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let failpoint: string;
let settings: Record<string, unknown>;
let policy: PolicyResponse;
let vms: readonly string[];

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  failpoint = join(system.directory, 'failpoint');
  await system.start({ SENDENSE_FAILPOINT: `file:${failpoint}` });
  client = new BackupClient(system);
  const repository_id = await client.createRepository('main', system.repositoryPath);
  const ids: string[] = [];
  for (const name of ['web-1', 'web-2', 'db-1']) {
    const vm = await ImageVm.create(join(system.imageRoot, name), [{ file: 'disk0.qcow2', mib: 8, dataMib: 1 }]);
    ids.push(await client.registerVm(name, vm.folder));
  }
  vms = ids;
  expect((await system.api('PUT', `/vms/${ids[1] ?? ''}/labels`, { labels: ['env=prod'] })).status).toBe(204);
  settings = {
    name: 'often',
    time_zone: 'Europe/Berlin',
    schedule: 'every 1m',
    include: [
      { by: 'vm_id', value: ids[0] },
      { by: 'label', value: 'env=prod' },
    ],
    repository_id,
  };
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

async function occurrences(query = ''): Promise<readonly OccurrenceResponse[]> {
  return (await system.api<{ occurrences: OccurrenceResponse[] }>('GET', `/policies/${policy.policy_id}/occurrences?limit=1000${query}`)).body.occurrences;
}

/** The first finished run that is not among the known ones. */
function finished(known: readonly OccurrenceResponse[]): Promise<OccurrenceResponse> {
  const ids = new Set(known.map(({ occurrence_id }) => occurrence_id));
  return until(
    'another run to finish',
    async () => (await occurrences()).find(({ occurrence_id, finished_at }) => !ids.has(occurrence_id) && finished_at !== null),
    RUN_PATIENCE_MS,
  );
}

/** The events that say how a run ended: there must be exactly one. */
async function endings(occurrenceId: string): Promise<readonly string[]> {
  const { body } = await system.api<{ events: AuditEventResponse[] }>('GET', `/audit/streams/occurrence-${occurrenceId}`);
  return body.events.map(({ type }) => type).filter((type) => /^Occurrence(Started|CaughtUp|Skipped|Missed)$/.test(type));
}

/** Kills the hub where the next append of the event is, and starts it again. */
async function killedAt(when: 'before' | 'after', eventType: string): Promise<void> {
  await writeFile(failpoint, `${when}:${eventType}:1`);
  await system.ended(RUN_PATIENCE_MS);
  await rm(failpoint);
  await system.start({ SENDENSE_FAILPOINT: `file:${failpoint}` });
}

describe('a policy that breaks a rule', () => {
  it.each([
    [{ schedule: '0 0 31 2 *' }, 400, 'schedule_invalid', 'schedule', 'never_occurs'],
    [{ schedule: 'whenever' }, 400, 'schedule_invalid', 'schedule', 'form'],
    [{ time_zone: 'Mars/Olympus' }, 400, 'time_zone_unknown', 'time_zone', 'known_zone'],
    [{ include: [{ by: 'name', value: 'nothing-*' }] }, 409, 'no_vm_matched', 'include', 'matches_a_vm'],
  ])('is refused for %j with field and rule', async (change, status, code, field, rule) => {
    expect(await client.problem('POST', '/policies', { ...settings, ...change })).toMatchObject({ status, code, field, rule });
  });

  it('is refused for members of the wrong kind, all at once', async () => {
    const body = { ...settings, include: [], spread_seconds: -1, start_window: { from: '25:00', until: '06:00', days: [] }, colour: 'red' };
    expect(await client.problem('POST', '/policies', body)).toMatchObject({ status: 400, code: 'validation_failed' });
    expect(await client.problem('POST', '/policies', { ...settings, rpo_seconds: 59 })).toMatchObject({ status: 400, errors: [{ field: 'rpo_seconds' }] });
    expect(await client.problem('POST', '/policies', { ...settings, repository_id: NOBODY })).toMatchObject({ status: 404, code: 'repository_not_found' });
    for (const path of ['', '/preview', '/occurrences']) {
      expect(await client.problem('GET', `/policies/${NOBODY}${path}`)).toMatchObject({ status: 404, code: 'policy_not_found' });
    }
    expect(await client.problem('POST', `/policies/${NOBODY}/run`)).toMatchObject({ status: 404, code: 'policy_not_found' });
  });
});

describe('a policy', () => {
  it('is created, and its preview says what it will do', async () => {
    const created = await system.api<PolicyResponse>('POST', '/policies', { ...settings, verification: { every_nth: 1, boot_every_days: 1 } });
    expect(created).toMatchObject({ status: 201, body: { version: 1, enabled: true, catch_up: 'latest' } });
    policy = created.body;
    const { body } = await system.api<PolicyPreviewResponse>('GET', `/policies/${policy.policy_id}/preview`);
    expect(body).toMatchObject({
      sentence:
        'Backs up 2 VMs into repository "main": every 1m (Europe/Berlin), catching up the newest missed run within 12 hours. Of each VM it verifies each restore point and boots one every 1 day. Keeps every restore point.',
      vms: [
        { vm_name: 'web-1', because: `vm_id ${vms[0] ?? ''}` },
        { vm_name: 'web-2', because: 'label env=prod' },
      ],
      left_out: [],
    });
    expect(body.next_occurrences).toHaveLength(5);
  });

  it('is refused if it claims a VM of another policy for the same repository, with the name of that one', async () => {
    const rival = { ...settings, name: 'rival', include: [{ by: 'name', value: 'web-*' }] };
    expect(await client.problem('POST', '/policies', rival)).toMatchObject({ status: 409, code: 'vm_claimed', policy_name: 'often', vm_name: 'web-1' });
    expect(await client.problem('POST', '/policies', { ...rival, name: 'often' })).toMatchObject({ status: 409, code: 'policy_name_taken' });
  });

  it('backs up its VMs by itself, and the backups say for which version', async () => {
    const run = await finished([]);
    expect(run).toMatchObject({ outcome: 'started', trigger: 'schedule', policy_version: 1, vms: [{ status: 'completed' }, { status: 'completed' }] });
    for (const { backup_id } of run.vms) {
      expect(await client.get(backup_id ?? '')).toMatchObject({ status: 'completed', policy_id: policy.policy_id, policy_version: 1 });
    }
  });

  it('verifies each restore point, and says why one of image files cannot be booted', async () => {
    const checked = await until('the checks of the first run to end', async () => {
      const run = (await occurrences()).at(-1);
      return run?.vms.every(({ checks }) => checks.every(({ status }) => status !== 'pending' && status !== 'running')) === true ? run : null;
    });
    for (const { checks } of checked.vms) {
      expect(checks).toMatchObject([
        { step: 'verify', status: 'passed', code: null },
        { step: 'boot_check', status: 'refused', code: 'definition_missing' },
      ]);
    }
  });

  it('has one end and one backup of each VM for each run, though the hub is killed right before and right after it records a start', async () => {
    await killedAt('before', 'OccurrenceStarted');
    await killedAt('after', 'OccurrenceStarted');
    const recorded = await occurrences();
    await until('all runs to finish', async () => (await occurrences()).every(({ vms: of, finished_at }) => of.length === 0 || finished_at !== null));
    // The hub that starts again begins the run that was due; the second kill may concern the same one.
    expect(recorded.length).toBeGreaterThanOrEqual(2);
    for (const { occurrence_id } of recorded) expect(await endings(occurrence_id)).toHaveLength(1);
    const due = recorded.map(({ due_at }) => Date.parse(due_at)).sort((a, b) => a - b);
    // One for each minute, none twice and none left out.
    expect(due).toEqual(due.map((_, index) => (due[0] ?? 0) + index * 60_000));
    const { body } = await system.api<{ backups: { backup_id: string }[] }>('GET', '/backups?limit=1000');
    const requested = (await occurrences()).flatMap(({ vms: of }) => of.map(({ backup_id }) => backup_id));
    expect(body.backups.map(({ backup_id }) => backup_id).sort()).toEqual(requested.sort());
  });

  it('is edited only from its current version, and disabled', async () => {
    const edit = { ...settings, schedule: 'daily at 22:00', enabled: false };
    const edited = await system.api<PolicyResponse>('PUT', `/policies/${policy.policy_id}`, { ...edit, version: 1 });
    expect(edited).toMatchObject({ status: 200, body: { version: 2, enabled: false, schedule: 'daily at 22:00' } });
    expect(await client.problem('PUT', `/policies/${policy.policy_id}`, { ...edit, version: 1 })).toMatchObject({ status: 409, code: 'policy_changed' });
    expect(await client.problem('PUT', `/policies/${policy.policy_id}`, { ...edit, version: 2, schedule: '61 * * * *' })).toMatchObject({
      code: 'schedule_invalid',
      rule: 'expression',
    });
    const before = await system.api<PolicyResponse>('GET', `/policies/${policy.policy_id}?as_of=${policy.position}`);
    expect(before.body).toMatchObject({ version: 1, schedule: 'every 1m' });
  });

  it('runs when it is asked to, once for each request', async () => {
    await until('the earlier runs to finish', async () => (await occurrences()).every(({ vms: of, finished_at }) => of.length === 0 || finished_at !== null));
    const known = await occurrences();
    const run = () => system.api<OccurrenceResponse>('POST', `/policies/${policy.policy_id}/run`, undefined, { 'idempotency-key': 'by-hand' });
    const { status, body } = await run();
    expect({ status, body }).toMatchObject({ status: 202, body: { trigger: 'manual', outcome: 'started', policy_version: 2 } });
    expect((await run()).body.occurrence_id).toBe(body.occurrence_id);
    expect(await finished(known)).toMatchObject({ occurrence_id: body.occurrence_id, vms: [{ status: 'completed' }, { status: 'completed' }] });
    expect((await occurrences()).length).toBe(known.length + 1);
  });

  it('keeps its repository from being deleted, even while it is disabled', async () => {
    const { repository_id } = settings;
    const refusal = { status: 409, code: 'repository_used_by_policies', policies: ['often'], detail: expect.stringContaining('policy "often"') };
    expect(await client.problem('DELETE', `/repositories/${String(repository_id)}`)).toMatchObject(refusal);
  });

  it('is deleted, and its runs and restore points stay', async () => {
    expect((await system.api('DELETE', `/policies/${policy.policy_id}`)).status).toBe(204);
    expect(await client.problem('DELETE', `/policies/${policy.policy_id}`)).toMatchObject({ status: 404, code: 'policy_not_found' });
    expect((await occurrences()).length).toBeGreaterThanOrEqual(3);
    await client.requireNothingHeld();
  });
});
