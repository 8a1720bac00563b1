import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Global, Module } from '@nestjs/common';
import { CommandBus, CommandHandler, CqrsModule, type ICommandHandler } from '@nestjs/cqrs';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { Test } from '@nestjs/testing';
import { allProjections, allReadModels } from '../../../../../projections/all-projections.js';
import { POLICY_SETTINGS } from '../../../../../test/support/policy-histories.js';
import { createTestDatabase, type TestDatabase } from '../../../../../test/support/postgres.js';
import type { DomainEvent } from '../../../../kernel/event.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { HubConfigModule } from '../../../hub-config.module.js';
import { HubConfig } from '../../../hub.config.js';
import { nodeStream } from '../../../nodes/nodes/model/node.events.js';
import { HostToolsModule } from '../../../operations/host-tools/host-tools.module.js';
import { repositoryStream } from '../../../repositories/repositories/model/repository.events.js';
import { restoreMountStream } from '../../../restore/restore-mounts/model/restore-mount.events.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { EventStoreModule } from '../../../store/event-store/event-store.module.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import { LocksModule } from '../../../store/locks/locks.module.js';
import { PostgresModule } from '../../../store/postgres/postgres.module.js';
import { ProjectionsModule } from '../../../store/postgres/projections.module.js';
import { RecordRetention } from '../../backups/model/backup.commands.js';
import { backupStream } from '../../backups/model/backup.events.js';
import { vmStream } from '../../vms/model/vm.events.js';
import { CreatePolicy } from '../model/policy.commands.js';
import { settingsOf } from '../model/policy.dto.js';
import { PoliciesModule } from '../policies.module.js';
import { WhatIfController } from './what-if.controller.js';
import type { WhatIfDto } from './what-if.dto.js';
import { HealthChecks } from '../../../../lib/http/health-checks.js';

const HUB_ID = '6b7e4f0a-0000-4000-8000-000000000002';
const REPOSITORY = '0199a3c0-2b40-7d10-b1de-64f0a52c9e02';
const [VM_1, VM_2] = ['0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e01', '0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e02'];
const NOW = '2027-01-10T12:00:00.000Z';
const RULES = { keep_last: null, keep_within: null, keep_daily: null, keep_weekly: null, keep_monthly: null, keep_yearly: null, applies_to: 'all' as const };

class FixedClock extends Clock {
  override now(): Date {
    return new Date(NOW);
  }
}

/** In place of the context `backups`: nothing is recorded, so that the history stays as it is. */
@CommandHandler(RecordRetention)
class RecordNothing implements ICommandHandler<RecordRetention> {
  execute(): Promise<boolean> {
    return Promise.resolve(false);
  }
}

@Global()
@Module({ providers: [EventFeed, HealthChecks], exports: [EventFeed, HealthChecks] })
class Shared {}

let database: TestDatabase;
let app: NestExpressApplication;
let policyId: string;
const backups: string[] = [];

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  const testing = await Test.createTestingModule({
    imports: [
      HubConfigModule.of(new HubConfig(), HUB_ID),
      PostgresModule.forRoot({ databaseUrl: database.databaseUrl, readModels: allReadModels }),
      EventStoreModule.forRoot({ hubId: HUB_ID }),
      ProjectionsModule.forRoot(allProjections),
      CqrsModule.forRoot(),
      HostToolsModule,
      LocksModule,
      Shared,
      PoliciesModule,
    ],
    providers: [RecordNothing],
  })
    .overrideProvider(Clock)
    .useValue(new FixedClock())
    .overrideProvider(RepositoryFiles)
    .useValue({ checkPresent: () => Promise.resolve(), freeBytes: () => Promise.resolve(3_500) })
    .compile();
  app = testing.createNestApplication<NestExpressApplication>({ logger: false });
  await app.init();
  await append(nodeStream('n1'), { type: 'NodeRegistered', data: { node_id: 'n1', name: 'n', url: 'http://127.0.0.1:1', registered_at: NOW } });
  const repository = { repository_id: REPOSITORY, name: 'main', type: 'local', path: '/srv/backups', created_at: NOW };
  await append(repositoryStream(REPOSITORY), { type: 'RepositoryCreated', data: repository });
  for (const [name, vm_id] of [
    ['web-1', VM_1],
    ['web-2', VM_2],
  ] as const) {
    const vm = { vm_id, name, node_id: 'n1', source: 'image', source_ref: `/images/${vm_id}`, disks: [], registered_at: NOW };
    await append(vmStream(vm_id), { type: 'VmRegistered', data: vm });
  }
  const settings = { ...POLICY_SETTINGS, repository_id: REPOSITORY, retention: null };
  policyId = (await app.get(CommandBus).execute(new CreatePolicy(settings, { commandId: randomUUID(), correlationId: randomUUID(), actor: 'api:test' })))
    .policy_id;
  for (let day = 1; day <= 5; day++) await backUp(`2027-01-0${day}T22:00:00.000Z`);
  await mount(backups[0] ?? '', '2027-01-03T12:00:00.000Z');
  await mount(backups[0] ?? '', '2027-01-06T12:00:00.000Z');
}, 60_000);

afterAll(async () => {
  await app.close();
  await database.drop();
});

async function append(stream: string, ...events: readonly DomainEvent[]): Promise<void> {
  const metadata = { $correlationId: randomUUID(), $causationId: randomUUID(), actor: 'api:test', hub_id: HUB_ID, schema_version: 1, time: NOW };
  await app.get(EventStore).append(
    stream,
    'any',
    events.map(({ type, data }) => ({ id: randomUUID(), type, data, metadata })),
  );
}

async function backUp(at: string): Promise<void> {
  const backup_id = randomUUID();
  const names = { vm_id: VM_1, vm_name: 'web-1', node_id: 'n1', repository_id: REPOSITORY, policy_id: policyId, policy_version: 1 };
  const disk = { disk_id: 0, disk_key: 'd', size_bytes: 4_000, source_format: 'qcow2', file: 'disk-0.qcow2', parent_file: null, parent_change_id: null };
  const plan = { backup_type: 'full', full_reason: 'requested', full_reason_detail: null, chain_id: backup_id, parent_backup_id: null, folder: backup_id };
  const file = { disk_id: 0, file: 'disk-0.qcow2', size_bytes: 1_000, sha256: '0'.repeat(64), mtime_ns: '1' };
  await append(
    backupStream(backup_id),
    { type: 'BackupRequested', data: { backup_id, ...names, backup_type: 'auto', requested_at: at } },
    { type: 'BackupPlannedV2', data: { ...plan, disks: [disk], ports: [], started_at: at } },
    { type: 'SnapshotTaken', data: { instant: at, change_ids: [] } },
    { type: 'RestorePointSealed', data: { folder: backup_id, files: [file], manifest_sha256: '0'.repeat(64), sealed_at: at } },
    { type: 'BackupCompleted', data: { completed_at: at } },
  );
  backups.push(backup_id);
}

async function mount(backup_id: string, at: string): Promise<void> {
  const mount_id = randomUUID();
  const names = { mount_id, backup_id, vm_id: VM_1, vm_name: 'web-1', repository_id: REPOSITORY };
  const ready = { driver: 'fuse', device: '/d', mount_path: '/m', partition: 1, filesystem_type: 'ext4', partitions: [], resources: [] };
  await append(
    restoreMountStream(mount_id),
    { type: 'MountRequested', data: { ...names, disk_index: 0, file: '/f', partition: null, idle_limit_seconds: 60, requested_at: at } },
    { type: 'MountReady', data: { ...ready, ready_at: at, expires_at: NOW } },
  );
}

const simulate = (request: Partial<WhatIfDto>) => app.get(WhatIfController).simulate(policyId, { horizon: '4d', ...request });
const edited = (change: object): Partial<WhatIfDto> => ({
  settings: { ...settingsOf({ ...POLICY_SETTINGS, repository_id: REPOSITORY }), ...change },
});

describe('a policy over the history of its VMs', () => {
  it('goes on with the sizes of before, and says when the repository is full', async () => {
    const { version, forward, backward } = await simulate({});
    expect({ version, backward }).toEqual({ version: 1, backward: null });
    expect(forward.vms).toMatchObject({ selected: 2, without_history: { count: 1, first: [{ vm_id: VM_2, vm_name: 'web-2' }] }, only_fulls: { count: 1 } });
    expect(forward.days.map(({ made, points, bytes }) => [made, points, bytes])).toEqual([
      [1, 6, 6_000],
      [1, 7, 7_000],
      [1, 8, 8_000],
      [1, 9, 9_000],
      [0, 9, 9_000],
    ]);
    expect(forward).toMatchObject({
      free_bytes: 3_500,
      full_on: '2027-01-13',
      rpo: null,
      kept_by: [
        { rule: 'no_retention', points: 9 },
        { rule: 'last_good', points: 1 },
      ],
    });
  });

  it('can be edited for the simulation: what expires now is removed after its grace, and nothing is recorded', async () => {
    const before = await app.get(EventStore).head();
    const { version, forward } = await simulate(edited({ retention: { ...RULES, keep_last: 2 } }));
    expect(version).toBe(2);
    expect(forward.days[0]).toMatchObject({ day: '2027-01-10', made: 1, expired: 4, removed: 0, points: 6 });
    expect(forward.days[1]).toMatchObject({ removed: 4 });
    expect(forward.full_on).toBeNull();
    expect(await app.get(EventStore).head()).toEqual(before);
  });

  it('would have removed what it does not keep, and made later restores of that impossible', async () => {
    const { backward } = await simulate({ ...edited({ retention: { ...RULES, keep_last: 2 } }), since: '2027-01-01T00:00:00.000Z' });
    expect(backward?.restore_points).toEqual({ existed: 5, would_exist: 2, only_now: 3, only_then: 0 });
    expect(backward?.points.filter(({ would_exist }) => would_exist).map(({ backup_id }) => backup_id)).toEqual(backups.slice(3));
    expect(backward?.points[0]).toMatchObject({ backup_id: backups[0], exists: true, would_exist: false, gone_at: '2027-01-04T22:00:00.000Z' });
    expect(backward?.restores).toMatchObject({
      made: 2,
      impossible: 1,
      first: [{ kind: 'mount', backup_id: backups[0], requested_at: '2027-01-06T12:00:00.000Z', gone_at: '2027-01-04T22:00:00.000Z' }],
    });
  });

  it.each([
    ['a horizon beyond three years', { horizon: '1097d' }, 'simulated_time_invalid'],
    ['a beginning that is not in the past', { since: NOW }, 'simulated_time_invalid'],
    ['a schedule of no known form', edited({ schedule: 'sometimes' }), 'schedule_invalid'],
    ['a retention without rules', edited({ retention: RULES }), 'retention_empty'],
    ['more runs than can be simulated', { ...edited({ schedule: 'every 1m' }), horizon: '1096d' }, 'simulation_too_large'],
  ])('is not simulated with %s', async (_what, request, code) => {
    await expect(simulate(request)).rejects.toMatchObject({ code });
  });
});
