import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Global, Module } from '@nestjs/common';
import { CommandBus, CommandHandler, CqrsModule, type ICommandHandler } from '@nestjs/cqrs';
import { Test } from '@nestjs/testing';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { DataSource, type FindOptionsWhere } from 'typeorm';
import { allProjections, allReadModels } from '../../../../projections/all-projections.js';
import { PolicyOccurrenceReadModel } from '../../../../projections/policy-occurrences/policy-occurrences.read-model.js';
import { POLICY_SETTINGS } from '../../../../test/support/policy-histories.js';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/postgres.js';
import { until } from '../../../../test/support/hub-system.js';
import type { DomainEvent } from '../../../kernel/event.js';
import { DomainError } from '../../../kernel/domain-error.js';
import { Clock, derivedId } from '../../../lib/clock/clock.js';
import { RepositoryFiles } from '../../../storage/repository-files/repository-files.js';
import { HubConfigModule } from '../../hub-config.module.js';
import { HubConfig } from '../../hub.config.js';
import { nodeStream } from '../../nodes/nodes/model/node.events.js';
import { HostToolsModule } from '../../operations/host-tools/host-tools.module.js';
import { repositoryStream } from '../../repositories/repositories/model/repository.events.js';
import { EventFeed } from '../../store/event-store/event-feed.js';
import { EventStoreModule } from '../../store/event-store/event-store.module.js';
import { EventStore } from '../../store/event-store/event-store.port.js';
import { LocksModule } from '../../store/locks/locks.module.js';
import { PostgresModule } from '../../store/postgres/postgres.module.js';
import { ProjectionsModule } from '../../store/postgres/projections.module.js';
import { ReadModels } from '../../store/postgres/read-models.js';
import { StartBackup } from '../backups/model/backup.commands.js';
import { backupStream } from '../backups/model/backup.events.js';
import { RecordRetentionHandler } from '../backups/record-retention/record-retention.handler.js';
import { vmStream } from '../vms/model/vm.events.js';
import { KeepBlackouts } from './keep-blackouts/keep-blackouts.service.js';
import { OccurrenceReader } from './model/occurrence.reader.js';
import type { OccurrenceResponse } from './model/occurrence.response.js';
import { CreatePolicy, DeletePolicy, EditPolicy, RunPolicy } from './model/policy.commands.js';
import type { PolicySettings } from './model/policy.events.js';
import { PoliciesModule } from './policies.module.js';
import { RunPoliciesService } from './run-policies/run-policies.service.js';
import { HealthChecks } from '../../../lib/http/health-checks.js';

const HUB_ID = '6b7e4f0a-0000-4000-8000-000000000001';
const REPOSITORY = '0199a3c0-2b40-7d10-b1de-64f0a52c9e02';
const NODE = 'node-1';
const [VM_1, VM_2] = ['0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e01', '0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e02'];

class SetClock extends Clock {
  time = '';
  override now(): Date {
    return new Date(this.time);
  }
}
const clock = new SetClock();
let outcome: 'completed' | 'running' | { readonly failed: string } | { readonly refused: string; readonly facts?: { readonly backup_id: string } } =
  'completed';
let repositoryIsThere = true;
let requests: StartBackup[] = [];

/** In place of the context `backups`: a backup ends as the test says. */
@CommandHandler(StartBackup)
class StartBackupStandIn implements ICommandHandler<StartBackup> {
  async execute(command: StartBackup): Promise<string> {
    if (!('vm_id' in command.vm)) throw new Error('a policy names its VMs by id');
    requests.push(command);
    if (typeof outcome === 'object' && 'refused' in outcome) throw new DomainError('unavailable', outcome.refused, 'refused', outcome.facts);
    const backup_id = derivedId(`backup/${command.context.commandId}`);
    const names = { vm_id: command.vm.vm_id, vm_name: command.vm.vm_id, node_id: NODE, repository_id: command.repositoryId };
    const policy = { policy_id: command.policy?.policy_id ?? null, policy_version: command.policy?.version ?? 0 };
    const requested = { type: 'BackupRequested', data: { backup_id, ...names, backup_type: 'auto', ...policy, requested_at: clock.iso() } };
    const end =
      outcome === 'running'
        ? []
        : outcome === 'completed'
          ? [{ type: 'BackupCompleted', data: { completed_at: clock.iso() } }]
          : [{ type: 'BackupFailed', data: { stage: 'transfer', code: outcome.failed, detail: 'd', failed_at: clock.iso() } }];
    await append(backupStream(backup_id), requested, ...end);
    return backup_id;
  }
}

@Global()
@Module({ providers: [EventFeed, HealthChecks], exports: [EventFeed, HealthChecks] })
class Shared {}

let database: TestDatabase;
let app: NestExpressApplication;
let policyId: string;

async function start(): Promise<void> {
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
    providers: [StartBackupStandIn, RecordRetentionHandler],
  })
    .overrideProvider(Clock)
    .useValue(clock)
    .overrideProvider(RepositoryFiles)
    .useValue({
      checkPresent: () => (repositoryIsThere ? Promise.resolve() : Promise.reject(new DomainError('unavailable', 'repository_unavailable', 'gone'))),
    })
    .compile();
  app = testing.createNestApplication<NestExpressApplication>({ logger: false });
  await app.init();
}

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  clock.time = '2027-01-01T12:00:00.000Z';
  await start();
  const at = clock.iso();
  await append(nodeStream(NODE), { type: 'NodeRegistered', data: { node_id: NODE, name: 'n', url: 'http://127.0.0.1:1', registered_at: at } });
  const repository = { repository_id: REPOSITORY, name: 'main', type: 'local', path: '/srv/backups', created_at: at };
  await append(repositoryStream(REPOSITORY), { type: 'RepositoryCreated', data: repository });
  for (const vm_id of [VM_1, VM_2]) {
    const vm = { vm_id, name: vm_id, node_id: NODE, source: 'image', source_ref: `/images/${vm_id}`, disks: [], registered_at: at };
    await append(vmStream(vm_id), { type: 'VmRegistered', data: vm });
  }
}, 60_000);

afterAll(async () => {
  await app.close();
  await database.drop();
});

beforeEach(() => {
  outcome = 'completed';
  repositoryIsThere = true;
  requests = [];
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

async function create(change: Partial<PolicySettings> = {}): Promise<void> {
  const settings = { ...POLICY_SETTINGS, repository_id: REPOSITORY, name: randomUUID(), ...change };
  policyId = (await app.get(CommandBus).execute(new CreatePolicy(settings, context()))).policy_id;
}

async function remove(): Promise<void> {
  await app.get(CommandBus).execute(new DeletePolicy(policyId, context()));
}

/** Sets the clock and lets the hub end what is due. */
async function at(time: string): Promise<void> {
  clock.time = time;
  await app.get(RunPoliciesService).look();
}

async function ends(): Promise<readonly string[]> {
  await app.get(ReadModels).current('policy_occurrences');
  const rows = await app
    .get(DataSource)
    .getRepository(PolicyOccurrenceReadModel)
    .find({ where: { policy_id: policyId }, order: { created_position: 'ASC' } });
  return rows.map(({ wall_time, outcome: end, reason }) => `${wall_time} ${end}${reason === null ? '' : ` ${reason}`}`);
}

async function newest(): Promise<OccurrenceResponse> {
  await app.get(ReadModels).current('policy_occurrences', 'policy_run_vms');
  const [run] = await responsesOf({ policy_id: policyId });
  if (run === undefined) throw new Error('there is no run');
  return run;
}

/** Newest first. */
async function responsesOf(where: FindOptionsWhere<PolicyOccurrenceReadModel>): Promise<readonly OccurrenceResponse[]> {
  const rows = await app
    .get(DataSource)
    .getRepository(PolicyOccurrenceReadModel)
    .find({ where, order: { created_position: 'DESC' } });
  return app.get(OccurrenceReader).responsesOf(rows);
}

const finished = () => until('the run to finish', async () => ((await newest()).finished_at === null ? null : await newest()));

describe('a policy whose runs come due', () => {
  it('starts each once, however often the hub looks and wherever its clock is set', async () => {
    await at('2027-01-01T12:00:00.000Z');
    await create();
    await at('2027-01-01T21:59:59.999Z');
    expect(await ends()).toEqual([]);
    await at('2027-01-01T22:00:00.000Z');
    await at('2027-01-01T22:00:10.000Z');
    await finished();
    await at('2026-12-31T22:00:00.000Z');
    await at('2027-01-01T22:00:00.000Z');
    expect(await ends()).toEqual(['2027-01-01T22:00 started']);
    expect(requests).toHaveLength(2);
    expect(requests[0]?.policy).toEqual({ policy_id: policyId, version: 1 });
    await remove();
  });

  it('records after a week without a hub what was missed, and catches up the newest', async () => {
    await at('2027-01-10T12:00:00.000Z');
    await create();
    await app.close();
    clock.time = '2027-01-14T03:00:00.000Z';
    await start();
    await at('2027-01-14T03:00:00.000Z');
    expect(await ends()).toEqual([
      '2027-01-10T22:00 missed hub_down',
      '2027-01-11T22:00 missed hub_down',
      '2027-01-12T22:00 missed hub_down',
      '2027-01-13T22:00 caught_up',
    ]);
    await finished();
    await app.close();
    clock.time = '2027-01-15T12:00:00.000Z';
    await start();
    await at('2027-01-15T12:00:00.000Z');
    expect((await ends()).at(-1)).toBe('2027-01-14T22:00 missed hub_down');
    expect(requests).toHaveLength(2);
    await remove();
  }, 120_000);

  it('skips a run with its reason', async () => {
    await at('2027-02-01T12:00:00.000Z');
    await create({ exclude: [{ by: 'vm_id', value: VM_2 }] });
    outcome = 'running';
    await at('2027-02-01T22:00:00.000Z');
    await until('the request', () => Promise.resolve(requests.length > 0));
    await at('2027-02-02T22:00:00.000Z');
    const backup_id = await until('the backup to be known', async () => {
      return (await responsesOf({ policy_id: policyId, outcome: 'started' }))[0]?.vms[0]?.backup_id;
    });
    await append(backupStream(backup_id), { type: 'BackupCompleted', data: { completed_at: clock.iso() } });
    await until('the run to finish', async () => {
      const rows = await app.get(DataSource).getRepository(PolicyOccurrenceReadModel).findBy({ policy_id: policyId, outcome: 'started' });
      return rows.every(({ finished_at }) => finished_at !== null);
    });
    repositoryIsThere = false;
    await at('2027-02-03T22:00:00.000Z');
    await at('2027-02-03T22:05:00.000Z');
    repositoryIsThere = true;
    await append(nodeStream(NODE), { type: 'NodeBecameUnreachable', data: { at: clock.iso(), code: 'node_unreachable', detail: 'd' } });
    await at('2027-02-04T22:00:00.000Z');
    await at('2027-02-04T22:05:00.000Z');
    await append(nodeStream(NODE), { type: 'NodeBecameReachable', data: { at: clock.iso(), version: '1' } });
    await append(vmStream(VM_1), { type: 'VmRemoved', data: { removed_at: clock.iso() } });
    await at('2027-02-05T22:00:00.000Z');
    const vm = { vm_id: VM_1, name: VM_1, node_id: NODE, source: 'image', source_ref: '/images/1', disks: [], registered_at: clock.iso() };
    await append(vmStream(VM_1), { type: 'VmRegistered', data: vm });
    const settings = { ...POLICY_SETTINGS, repository_id: REPOSITORY, enabled: false };
    await app.get(CommandBus).execute(new EditPolicy(policyId, 1, settings, 0, context()));
    await at('2027-02-06T22:00:00.000Z');
    expect(await ends()).toEqual([
      '2027-02-01T22:00 started',
      '2027-02-02T22:00 skipped previous_running',
      '2027-02-03T22:00 skipped repository_unavailable',
      '2027-02-04T22:00 skipped node_offline',
      '2027-02-05T22:00 skipped no_vm_matched',
      '2027-02-06T22:00 skipped paused',
    ]);
    await remove();
  });
});

describe('a policy that is deleted', () => {
  it('leaves no run without an end that was due before', async () => {
    await at('2027-02-08T12:00:00.000Z');
    await create({ schedule: 'daily at 22:00', blackouts: [{ from: '2027-02-08T20:00:00.000Z', until: '2027-02-09T23:00:00.000Z', effect: 'defer' }] });
    await at('2027-02-08T22:00:00.000Z');
    expect(await ends()).toEqual([]);
    clock.time = '2027-02-09T22:00:00.000Z';
    await remove();
    await at('2027-02-09T23:30:00.000Z');
    expect(await ends()).toEqual(['2027-02-08T22:00 skipped blackout', '2027-02-09T22:00 skipped policy_deleted']);
    expect(requests).toEqual([]);
  });
});

describe('a policy that is edited while it runs', () => {
  it('finishes the run by the version with which it began, and begins the next by the new one', async () => {
    await at('2027-06-01T12:00:00.000Z');
    await create();
    outcome = 'running';
    await at('2027-06-01T22:00:00.000Z');
    await until('the requests', async () => (await newest()).vms.every(({ status }) => status === 'requested'));
    const settings = { ...POLICY_SETTINGS, repository_id: REPOSITORY, exclude: [{ by: 'vm_id' as const, value: VM_2 }], backup_type: 'full' as const };
    await app.get(CommandBus).execute(new EditPolicy(policyId, 1, settings, 0, context()));
    for (const { backup_id } of (await newest()).vms) {
      await append(backupStream(backup_id ?? ''), { type: 'BackupCompleted', data: { completed_at: clock.iso() } });
    }
    expect(await finished()).toMatchObject({ policy_version: 1, vms: [{ status: 'completed' }, { status: 'completed' }] });
    outcome = 'completed';
    await at('2027-06-02T22:00:00.000Z');
    await until('the next run', async () => (await newest()).policy_version === 2);
    expect(await finished()).toMatchObject({ policy_version: 2, vms: [{ vm_id: VM_1, status: 'completed' }] });
    expect(requests.map(({ backupType, policy }) => [backupType, policy?.version])).toEqual([
      ['auto', 1],
      ['auto', 1],
      ['full', 2],
    ]);
    await remove();
  });
});

describe('a VM that is removed and registered again under the same name', () => {
  it('is another VM, which the next run backs up in its place', async () => {
    const again = '0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e09';
    const vm = { node_id: NODE, source: 'image', source_ref: '/images/again', disks: [], registered_at: clock.iso() };
    await at('2027-07-01T12:00:00.000Z');
    await create({ include: [{ by: 'name', value: VM_2 }] });
    outcome = 'running';
    await at('2027-07-01T22:00:00.000Z');
    await until('the request', async () => (await newest()).vms[0]?.status === 'requested');
    await append(vmStream(VM_2), { type: 'VmRemoved', data: { removed_at: clock.iso() } });
    await append(vmStream(again), { type: 'VmRegistered', data: { ...vm, vm_id: again, name: VM_2 } });
    const [first] = (await newest()).vms;
    await append(backupStream(first?.backup_id ?? ''), { type: 'BackupCompleted', data: { completed_at: clock.iso() } });
    expect(await finished()).toMatchObject({ vms: [{ vm_id: VM_2, status: 'completed' }] });
    outcome = 'completed';
    await at('2027-07-02T22:00:00.000Z');
    await until('the next run', async () => (await newest()).vms[0]?.vm_id === again);
    expect(await finished()).toMatchObject({ vms: [{ vm_id: again, vm_name: VM_2, status: 'completed' }] });
    await append(vmStream(again), { type: 'VmRemoved', data: { removed_at: clock.iso() } });
    await append(vmStream(VM_2), { type: 'VmRegistered', data: { ...vm, vm_id: VM_2, name: VM_2, source_ref: `/images/${VM_2}` } });
    await remove();
  });
});

describe('a shared blackout', () => {
  const office = { name: 'office', time_zone: 'UTC', effect: 'defer' as const, dates: [], weekly: [{ from: '08:00', until: '18:00', days: [] }] };

  it('defers the runs of the policies that refer to it, at once by its newest version, and stays while one does', async () => {
    await at('2027-08-01T12:00:00.000Z');
    await expect(create({ blackout_ids: [VM_1] })).rejects.toMatchObject({ code: 'blackout_not_found' });
    const { blackout_id } = await app.get(KeepBlackouts).create(office, context());
    await expect(app.get(KeepBlackouts).create(office, context())).rejects.toMatchObject({ code: 'blackout_name_taken' });
    await create({ schedule: 'daily at 09:00', blackout_ids: [blackout_id] });
    await expect(app.get(KeepBlackouts).delete(blackout_id, context())).rejects.toMatchObject({ code: 'blackout_used_by_policies' });
    await at('2027-08-02T09:00:00.000Z');
    expect(await ends()).toEqual([]);
    const shorter = { ...office, weekly: [{ from: '08:00', until: '10:00', days: [] }] };
    await app.get(KeepBlackouts).edit(blackout_id, 1, shorter, context());
    await at('2027-08-02T10:00:00.000Z');
    expect(await ends()).toEqual(['2027-08-02T09:00 started']);
    await finished();
    await app.get(KeepBlackouts).edit(blackout_id, 2, { ...shorter, effect: 'skip' }, context());
    await at('2027-08-03T09:00:00.000Z');
    expect((await ends()).at(-1)).toBe('2027-08-03T09:00 skipped blackout');
    await remove();
    await app.get(KeepBlackouts).delete(blackout_id, context());
  });
});

describe('a run whose node cannot be reached', () => {
  const offline = () => append(nodeStream(NODE), { type: 'NodeBecameUnreachable', data: { at: clock.iso(), code: 'node_unreachable', detail: 'd' } });
  const online = () => append(nodeStream(NODE), { type: 'NodeBecameReachable', data: { at: clock.iso(), version: '1' } });

  it('starts when the node is back within five minutes', async () => {
    await at('2027-02-10T12:00:00.000Z');
    await create();
    await offline();
    await at('2027-02-10T22:00:00.000Z');
    await at('2027-02-10T22:04:00.000Z');
    expect(await ends()).toEqual([]);
    await online();
    await at('2027-02-10T22:04:30.000Z');
    expect(await ends()).toEqual(['2027-02-10T22:00 started']);
    await finished();
    await remove();
  });

  it('is caught up when the node starts after the hub', async () => {
    await at('2027-02-12T12:00:00.000Z');
    await create();
    await offline();
    await app.close();
    clock.time = '2027-02-13T03:00:00.000Z';
    await start();
    await at('2027-02-13T03:00:00.000Z');
    expect(await ends()).toEqual([]);
    await online();
    await at('2027-02-13T03:01:00.000Z');
    expect(await ends()).toEqual(['2027-02-12T22:00 caught_up']);
    await finished();
    await remove();
  }, 120_000);
});

describe('a VM whose backup fails', () => {
  /** Sets the clock behind the time of the next attempt; the hub that starts then finds the run unfinished. */
  async function restartedAt(time: string): Promise<void> {
    await app.close();
    clock.time = time;
    await start();
  }

  it('is tried again ten minutes later, also by the next hub, and alone', async () => {
    await at('2027-03-01T12:00:00.000Z');
    await create({ exclude: [{ by: 'vm_id', value: VM_2 }], schedule: 'daily at 13:00' });
    outcome = { failed: 'node_silent' };
    await at('2027-03-01T13:00:00.000Z');
    await until('the failure', async () => (await newest()).vms[0]?.attempt === 2);
    expect(await newest()).toMatchObject({ finished_at: null, vms: [{ status: 'planned', start_at: '2027-03-01T13:10:00.000Z', code: 'node_silent' }] });
    outcome = 'completed';
    await restartedAt('2027-03-01T13:10:00.000Z');
    expect(await finished()).toMatchObject({ vms: [{ status: 'completed', attempt: 2 }] });
    expect(requests).toHaveLength(2);
    await remove();
  }, 60_000);

  it('is not tried again after a run that was asked for, nor for a failure that will not pass', async () => {
    await at('2027-04-01T12:00:00.000Z');
    await create({ exclude: [{ by: 'vm_id', value: VM_2 }] });
    outcome = { failed: 'node_silent' };
    await app.get(CommandBus).execute(new RunPolicy(policyId, context()));
    expect(await finished()).toMatchObject({ trigger: 'manual', vms: [{ status: 'failed', attempt: 1, code: 'node_silent' }] });
    outcome = { refused: 'source_unknown' };
    await at('2027-04-01T22:00:00.000Z');
    await until('the scheduled run', async () => (await newest()).trigger === 'schedule');
    expect(await finished()).toMatchObject({ trigger: 'schedule', vms: [{ status: 'refused', attempt: 1, code: 'source_unknown', backup_id: null }] });
    await remove();
  });

  it('is not taken for done because its refusal names a restore point', async () => {
    await at('2027-05-01T12:00:00.000Z');
    await create({ exclude: [{ by: 'vm_id', value: VM_2 }] });
    await app.get(CommandBus).execute(new RunPolicy(policyId, context()));
    const [done] = (await finished()).vms;
    outcome = { refused: 'parent_altered', facts: { backup_id: done?.backup_id ?? '' } };
    await app.get(CommandBus).execute(new RunPolicy(policyId, context()));
    await until('the second run', async () => (await newest()).vms[0]?.status === 'refused');
    expect(await finished()).toMatchObject({ vms: [{ status: 'refused', code: 'parent_altered', backup_id: null }] });
    await remove();
  });
});
