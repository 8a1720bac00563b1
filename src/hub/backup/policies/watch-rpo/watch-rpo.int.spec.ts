import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Global, Module } from '@nestjs/common';
import { CommandBus, CqrsModule } from '@nestjs/cqrs';
import { Test, type TestingModule } from '@nestjs/testing';
import { DataSource } from 'typeorm';
import { allProjections, allReadModels } from '../../../../../projections/all-projections.js';
import { VmRpoReadModel } from '../../../../../projections/vm-rpo/vm-rpo.read-model.js';
import { until } from '../../../../../test/support/hub-system.js';
import { POLICY_SETTINGS } from '../../../../../test/support/policy-histories.js';
import { createTestDatabase, type TestDatabase } from '../../../../../test/support/postgres.js';
import type { DomainEvent } from '../../../../kernel/event.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { HubConfigModule } from '../../../hub-config.module.js';
import { HubConfig } from '../../../hub.config.js';
import { HostToolsModule } from '../../../operations/host-tools/host-tools.module.js';
import { repositoryStream } from '../../../repositories/repositories/model/repository.events.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { EventStoreModule } from '../../../store/event-store/event-store.module.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import { LocksModule } from '../../../store/locks/locks.module.js';
import { PostgresModule } from '../../../store/postgres/postgres.module.js';
import { ProjectionsModule } from '../../../store/postgres/projections.module.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { backupStream } from '../../backups/model/backup.events.js';
import { chainStream } from '../../chains/model/chain.events.js';
import { vmStream } from '../../vms/model/vm.events.js';
import { CreatePolicy, EditPolicy } from '../model/policy.commands.js';
import type { PolicySettings } from '../model/policy.events.js';
import { rpoStream } from '../model/rpo.events.js';
import { PoliciesModule } from '../policies.module.js';
import { WatchRpoService } from './watch-rpo.service.js';
import { HealthChecks } from '../../../../lib/http/health-checks.js';

const HUB_ID = '6b7e4f0a-0000-4000-8000-000000000001';
const REPOSITORY = '0199a3c0-2b40-7d10-b1de-64f0a52c9e02';
const VM = '0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e01';

class SetClock extends Clock {
  time = '2027-01-01T12:00:00.000Z';
  override now(): Date {
    return new Date(this.time);
  }
}
const clock = new SetClock();

@Global()
@Module({ providers: [EventFeed, HealthChecks], exports: [EventFeed, HealthChecks] })
class Shared {}

let database: TestDatabase;
let app: TestingModule;
let policyId: string;
/** It does not run: only its promise counts. */
const settings: PolicySettings = { ...POLICY_SETTINGS, repository_id: REPOSITORY, enabled: false, rpo_seconds: 3600 };

async function start(): Promise<void> {
  app = await Test.createTestingModule({
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
  })
    .overrideProvider(Clock)
    .useValue(clock)
    .compile();
  await app.init();
}

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  await start();
  const repository = { repository_id: REPOSITORY, name: 'main', type: 'local', path: '/srv/backups', created_at: clock.iso() };
  await append(repositoryStream(REPOSITORY), { type: 'RepositoryCreated', data: repository });
  const vm = { vm_id: VM, name: 'web-1', node_id: 'n1', source: 'image', source_ref: '/images/web-1', disks: [], registered_at: clock.iso() };
  await append(vmStream(VM), { type: 'VmRegistered', data: vm });
}, 60_000);

afterAll(async () => {
  await app.close();
  await database.drop();
});

async function append(stream: string, ...events: readonly DomainEvent[]): Promise<void> {
  const metadata = { $correlationId: randomUUID(), $causationId: randomUUID(), actor: 'api:test', hub_id: HUB_ID, schema_version: 1, time: clock.iso() };
  await app.get(EventStore).append(
    stream,
    'any',
    events.map(({ type, data }) => ({ id: randomUUID(), type, data, metadata })),
  );
}

const context = () => ({ commandId: randomUUID(), correlationId: randomUUID(), actor: 'api:test' });

/** A backup that has completed. @returns its id */
async function backUp(instant: string): Promise<string> {
  const backup_id = randomUUID();
  const requested = { backup_id, vm_id: VM, vm_name: 'web-1', node_id: 'n1', repository_id: REPOSITORY, backup_type: 'auto', policy_id: null };
  await append(
    backupStream(backup_id),
    { type: 'BackupRequested', data: { ...requested, requested_at: instant } },
    { type: 'SnapshotTaken', data: { instant, change_ids: [] } },
    { type: 'BackupCompleted', data: { completed_at: clock.iso() } },
  );
  return backup_id;
}

/** Sets the clock and lets the hub look. */
async function at(time: string): Promise<void> {
  clock.time = time;
  await app.get(WatchRpoService).look();
}

async function recorded(): Promise<readonly { readonly type: string; readonly data: object }[]> {
  const events = [];
  for await (const { type, data } of app.get(EventStore).read(rpoStream(VM))) events.push({ type, data });
  return events;
}

describe('the watch of RPOs', () => {
  it('records that a VM without a restore point is not protected as promised, from the beginning of the promise', async () => {
    clock.time = '2027-01-01T13:00:00.000Z';
    policyId = (await app.get(CommandBus).execute(new CreatePolicy(settings, context()))).policy_id;
    await at('2027-01-01T13:00:01.000Z');
    expect(await recorded()).toEqual([
      {
        type: 'RpoBroken',
        data: {
          vm_id: VM,
          vm_name: 'web-1',
          policy_id: policyId,
          policy_version: 1,
          rpo_seconds: 3600,
          backup_id: null,
          instant: null,
          broken_at: '2027-01-01T13:00:00.000Z',
          recorded_at: expect.any(String),
        },
      },
    ]);
  });

  it('records by itself that a restore point ends the breach', async () => {
    clock.time = '2027-01-01T13:20:00.000Z';
    const backup_id = await backUp('2027-01-01T13:10:00.000Z');
    await until('the end of the breach', async () => (await recorded()).length > 1);
    expect((await recorded())[1]).toEqual({
      type: 'RpoRestored',
      data: {
        vm_id: VM,
        reason: 'restore_point',
        backup_id,
        instant: '2027-01-01T13:10:00.000Z',
        broken_at: '2027-01-01T13:00:00.000Z',
        restored_at: '2027-01-01T13:20:00.000Z',
        recorded_at: '2027-01-01T13:20:00.000Z',
      },
    });
  });

  it('records a breach that began while the hub was down, with its true beginning and once', async () => {
    await at('2027-01-01T14:09:59.999Z');
    expect(await recorded()).toHaveLength(2);
    await app.close();
    clock.time = '2027-01-03T08:00:00.000Z';
    await start();
    await at('2027-01-03T08:00:00.000Z');
    await at('2027-01-01T13:30:00.000Z');
    await at('2027-01-03T08:00:01.000Z');
    await app.close();
    await start();
    await at('2027-01-03T08:00:02.000Z');
    const events = await recorded();
    expect(events).toHaveLength(3);
    expect(events[2]).toMatchObject({ type: 'RpoBroken', data: { broken_at: '2027-01-01T14:10:00.000Z', recorded_at: '2027-01-03T08:00:00.000Z' } });
    const row = await app.get(DataSource).getRepository(VmRpoReadModel).findOneByOrFail({ vm_id: VM });
    expect(row).toMatchObject({ status: 'broken', since: new Date('2027-01-01T14:10:00.000Z'), rpo_seconds: 3600, reason: null });
  }, 60_000);

  it('does not count a restore point that is damaged', async () => {
    clock.time = '2027-01-03T09:00:00.000Z';
    const backup_id = await backUp('2027-01-03T09:00:00.000Z');
    await at('2027-01-03T09:00:01.000Z');
    const chain_id = randomUUID();
    await append(
      chainStream(chain_id),
      { type: 'ChainStarted', data: { chain_id, vm_id: VM, repository_id: REPOSITORY, backup_id } },
      { type: 'RestorePointDamaged', data: { backup_id, code: 'parent_altered', detail: 'd' } },
    );
    await at('2027-01-03T09:05:00.000Z');
    expect((await recorded()).slice(3)).toMatchObject([
      { type: 'RpoRestored', data: { reason: 'restore_point', backup_id } },
      // Not before the end of the breach before.
      { type: 'RpoBroken', data: { instant: '2027-01-01T13:10:00.000Z', broken_at: '2027-01-03T09:00:00.000Z' } },
    ]);
  });

  it('records why a breach ends without a restore point', async () => {
    clock.time = '2027-01-03T10:00:00.000Z';
    await app.get(CommandBus).execute(new EditPolicy(policyId, 1, { ...settings, rpo_seconds: 30 * 86_400 }, 0, context()));
    await at('2027-01-03T10:00:01.000Z');
    await app.get(CommandBus).execute(new EditPolicy(policyId, 2, settings, 0, context()));
    await at('2027-01-03T10:00:02.000Z');
    await app.get(CommandBus).execute(new EditPolicy(policyId, 3, { ...settings, rpo_seconds: null }, 0, context()));
    await at('2027-01-03T10:00:03.000Z');
    await app.get(CommandBus).execute(new EditPolicy(policyId, 4, settings, 0, context()));
    await at('2027-01-03T10:00:04.000Z');
    await append(vmStream(VM), { type: 'VmRemoved', data: { removed_at: clock.iso() } });
    await at('2027-01-03T10:00:05.000Z');
    expect((await recorded()).slice(5)).toMatchObject([
      { type: 'RpoRestored', data: { reason: 'rpo_changed' } },
      { type: 'RpoBroken', data: { policy_version: 3 } },
      { type: 'RpoRestored', data: { reason: 'not_promised' } },
      { type: 'RpoBroken', data: { policy_version: 5 } },
      { type: 'RpoRestored', data: { reason: 'vm_removed', backup_id: null } },
    ]);
    await app.get(ReadModels).current('vm_rpo');
    expect(await app.get(DataSource).getRepository(VmRpoReadModel).countBy({ vm_id: VM })).toBe(0);
  });
});
