import { setImmediate as turn } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import { VmRpoReadModel } from '../../../../../projections/vm-rpo/vm-rpo.read-model.js';
import { unknownVariant } from '../../../../kernel/decider.js';
import type { Position } from '../../../../kernel/position.js';
import { readAsOf } from '../../../store/postgres/as-of.js';
import { PastInstants } from '../../../store/postgres/past-instants.js';
import type { VmEvent } from '../../vms/model/vm.events.js';
import type { PolicyEvent } from './policy.events.js';
import { PolicyReader } from './policy.reader.js';
import type { CoveringPolicy } from './protection.plan.js';
import type { RpoEvent } from './rpo.events.js';
import {
  type Breach,
  type GoodPoint,
  NO_RUNS,
  type PoliciesChange,
  type ServiceLevel,
  serviceLevelOf,
  type Span,
  type StartedRuns,
  type UnstartedRun,
  type VmChange,
} from './service-level.plan.js';

/** VMs whose restore points are read at a time. */
const VM_BATCH = 200;
/** Runs per query: each may have as many VMs as there are. */
const RUN_BATCH = 20;
const EVENT_BATCH = 5_000;

const EVENTS = `
  select log_position as position, stream, type, data from audit_events
   where type = any($1) and log_position > $2 order by log_position limit ${EVENT_BATCH}`;
const POINTS = `
  select vm_id, least(instant, completed_at) as instant, completed_at, least(deleted_at, (damage ->> 'detected_at')::timestamptz) as gone_at
    from backups
   where vm_id = any($1) and status in ('completed', 'deleted') and instant is not null and completed_at < $3
     and coalesce(least(deleted_at, (damage ->> 'detected_at')::timestamptz), 'infinity') > $2`;
const RUNS = `
  select occurrence_id, policy_id, due_at, outcome,
         (select coalesce(jsonb_agg(jsonb_build_array(vm_id, status, attempt) order by place), '[]')
            from policy_run_vms vm where vm.occurrence_id = run.occurrence_id) as vms
    from policy_occurrences run
   where trigger = 'schedule' and due_at < $2 and (due_at, occurrence_id) > ($1::timestamptz, $3)
   order by due_at, occurrence_id limit ${RUN_BATCH}`;

interface StoredEvent {
  readonly position: Position;
  readonly stream: string;
  readonly type: string;
  readonly data: object;
}

interface StoredRun {
  readonly occurrence_id: string;
  readonly policy_id: string;
  readonly due_at: Date;
  readonly outcome: 'started' | 'caught_up' | 'skipped' | 'missed';
  readonly vms: readonly (readonly [vm_id: string, status: string, attempt: number])[];
}

interface StoredPoint {
  readonly vm_id: string;
  readonly instant: Date;
  readonly completed_at: Date;
  readonly gone_at: Date | null;
}

/** Reads what was promised for each VM in a period, and what was kept: how everything was when it began, and the events since. */
@Injectable()
export class ServiceLevelReader {
  constructor(
    private readonly dataSource: DataSource,
    private readonly policyReader: PolicyReader,
    private readonly instants: PastInstants,
  ) {}

  /** As of the instant of the request, for every VM that there was in the period. @throws as `PastInstants.atTime` */
  async read(period: Span): Promise<readonly ServiceLevel[]> {
    const begin = await this.instants.atTime(period.from);
    if (begin === null) throw new Error('the period must not begin in the future');
    const { vms, policies, breaches } = await readAsOf(begin, () => this.begin(period.from));
    const since = begin.position ?? '';
    await this.foldVms(vms, since);
    const changes = await this.foldPolicies(policies, period.from, since);
    await this.foldBreaches(breaches, since);
    const { started, unstarted } = await this.runs(period);
    const levels: ServiceLevel[] = [];
    const ids = [...vms.keys()];
    for (let first = 0; first < ids.length; first += VM_BATCH) {
      const batch = ids.slice(first, first + VM_BATCH);
      const points = await this.points(batch, period);
      for (const vm_id of batch) {
        const record = { changes: vms.get(vm_id) ?? [], points: points.get(vm_id) ?? [], breaches: breaches.get(vm_id) ?? [] };
        const level = serviceLevelOf({ ...record, started: started.get(vm_id) ?? NO_RUNS }, changes, unstarted, period);
        if (level !== null) levels.push(level);
        // Other requests are answered in between.
        await turn();
      }
    }
    return levels;
  }

  private async begin(at: string): Promise<{ vms: Map<string, VmChange[]>; policies: Map<string, CoveringPolicy>; breaches: Map<string, Breach[]> }> {
    const vms = await this.dataSource.getRepository(VmReadModel).find();
    const policies = await this.policyReader.all();
    const broken = await this.dataSource.getRepository(VmRpoReadModel).findBy({ status: 'broken' });
    return {
      vms: new Map(
        vms.map(({ vm_id, name, node_id, source, labels, registered_at, labels_set_at }) => {
          const vm = { vm_id, name, node_id, source, labels, registered_at: registered_at.toISOString(), labels_set_at: labels_set_at?.toISOString() ?? null };
          return [vm_id, [{ at, vm }]];
        }),
      ),
      policies: new Map(
        policies.map(({ policy_id, version, settings, edited_at }) => [policy_id, { policy_id, version, settings, edited_at: edited_at.toISOString() }]),
      ),
      breaches: new Map(broken.map(({ vm_id, broken_at }) => [vm_id, [{ broken_at: broken_at.toISOString(), restored_at: null }]])),
    };
  }

  private async foldVms(vms: Map<string, VmChange[]>, since: Position): Promise<void> {
    for await (const { stream, event } of this.events<VmEvent>(since, 'VmRegistered', 'VmLabelsSet', 'VmRemoved')) {
      const vm_id = idOf(stream);
      const changes = vms.get(vm_id) ?? [];
      const before = changes.at(-1)?.vm ?? null;
      vms.set(vm_id, changes);
      switch (event.type) {
        case 'VmRegistered': {
          const { name, node_id, source, registered_at } = event.data;
          changes.push({ at: registered_at, vm: { vm_id, name, node_id, source, labels: [], registered_at, labels_set_at: null } });
          break;
        }
        case 'VmLabelsSet': {
          const { labels, set_at } = event.data;
          if (before !== null) changes.push({ at: set_at, vm: { ...before, labels, labels_set_at: set_at } });
          break;
        }
        case 'VmRemoved':
          changes.push({ at: event.data.removed_at, vm: null });
          break;
        default:
          break;
      }
    }
  }

  /** @param policies as they were when the period began, in the order of their creation; becomes what they are now */
  private async foldPolicies(policies: Map<string, CoveringPolicy>, from: string, since: Position): Promise<readonly PoliciesChange[]> {
    const changes: PoliciesChange[] = [{ at: from, policies: [...policies.values()] }];
    for await (const { stream, event } of this.events<PolicyEvent>(since, 'PolicyCreated', 'PolicyEdited', 'PolicyDeleted')) {
      const policy_id = idOf(stream);
      const at = (time: string): void => void changes.push({ at: time, policies: [...policies.values()] });
      switch (event.type) {
        case 'PolicyCreated': {
          const { version, settings, created_at } = event.data;
          policies.set(policy_id, { policy_id, version, settings, edited_at: created_at });
          at(created_at);
          break;
        }
        case 'PolicyEdited': {
          const { version, settings, edited_at } = event.data;
          policies.set(policy_id, { policy_id, version, settings, edited_at });
          at(edited_at);
          break;
        }
        case 'PolicyDeleted':
          policies.delete(policy_id);
          at(event.data.deleted_at);
          break;
        default:
          unknownVariant(`stream ${stream}`, event);
      }
    }
    return changes;
  }

  /** Also those that were recorded after the period: a hub that was down records a breach later, with its true beginning. */
  private async foldBreaches(breaches: Map<string, Breach[]>, since: Position): Promise<void> {
    for await (const { stream, event } of this.events<RpoEvent>(since, 'RpoBroken', 'RpoRestored')) {
      const vm_id = idOf(stream);
      const own = breaches.get(vm_id) ?? [];
      breaches.set(vm_id, own);
      switch (event.type) {
        case 'RpoBroken':
          own.push({ broken_at: event.data.broken_at, restored_at: null });
          break;
        case 'RpoRestored': {
          const { broken_at, restored_at } = event.data;
          own.splice(-1, 1, { broken_at, restored_at });
          break;
        }
        default:
          unknownVariant(`stream ${stream}`, event);
      }
    }
  }

  private async *events<Event extends VmEvent | PolicyEvent | RpoEvent>(
    since: Position,
    ...types: readonly Event['type'][]
  ): AsyncGenerator<{ readonly stream: string; readonly event: Event }, void, undefined> {
    for (let after = since; ;) {
      const batch = await this.dataSource.query<StoredEvent[]>(EVENTS, [types, after]);
      // The types of events were checked when they were stored.
      for (const { stream, type, data } of batch) yield { stream, event: { type, data } as Event };
      const last = batch.at(-1);
      if (last === undefined || batch.length < EVENT_BATCH) return;
      after = last.position;
    }
  }

  private async runs({ from, until }: Span): Promise<{ started: ReadonlyMap<string, StartedRuns>; unstarted: ReadonlyMap<string, readonly UnstartedRun[]> }> {
    const started = new Map<string, StartedRuns>();
    const unstarted = new Map<string, UnstartedRun[]>();
    let [dueAt, id] = [from, ''];
    for (;;) {
      const batch = await this.dataSource.query<StoredRun[]>(RUNS, [dueAt, until, id]);
      for (const { policy_id, due_at, outcome, vms } of batch) {
        if (outcome === 'skipped' || outcome === 'missed') {
          const own = unstarted.get(policy_id) ?? [];
          unstarted.set(policy_id, own);
          own.push({ due_at: due_at.toISOString(), outcome });
        }
        for (const [vm_id, status, attempt] of vms) {
          const { made, late, failed, unfinished } = started.get(vm_id) ?? NO_RUNS;
          const isMade = status === 'completed';
          const isOpen = status === 'planned' || status === 'requested';
          started.set(vm_id, {
            made: made + (isMade ? 1 : 0),
            late: late + (isMade && (outcome === 'caught_up' || attempt > 1) ? 1 : 0),
            failed: failed + (isMade || isOpen ? 0 : 1),
            unfinished: unfinished + (isOpen ? 1 : 0),
          });
        }
      }
      const last = batch.at(-1);
      if (last === undefined || batch.length < RUN_BATCH) return { started, unstarted };
      [dueAt, id] = [last.due_at.toISOString(), last.occurrence_id];
    }
  }

  private async points(vmIds: readonly string[], { from, until }: Span): Promise<ReadonlyMap<string, readonly GoodPoint[]>> {
    const points = new Map<string, GoodPoint[]>();
    for (const { vm_id, instant, completed_at, gone_at } of await this.dataSource.query<StoredPoint[]>(POINTS, [vmIds, from, until])) {
      const own = points.get(vm_id) ?? [];
      points.set(vm_id, own);
      own.push({ instant: instant.toISOString(), completed_at: completed_at.toISOString(), gone_at: gone_at?.toISOString() ?? null });
    }
    return points;
  }
}

function idOf(stream: string): string {
  return stream.slice(stream.indexOf('-') + 1);
}
