import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { type CoveringPolicy, type ProtectedVm, type Protection, protectionsOf } from './protection.plan.js';
import { PolicyReader } from './policy.reader.js';

/** One index lookup for each VM, however many restore points it has. */
const VMS_WITH_NEWEST_POINT = `
  select vm.vm_id, vm.name, vm.node_id, vm.source, vm.labels, vm.registered_at, vm.labels_set_at, newest.backup_id, newest.instant, newest.completed_at
    from vms vm
    left join lateral (
      select backup_id, least(instant, completed_at) as instant, completed_at from backups
       where vm_id = vm.vm_id and status = 'completed' and damage is null and instant is not null
       order by least(instant, completed_at) desc limit 1) newest on true
   order by vm.name`;

interface Row {
  readonly vm_id: string;
  readonly name: string;
  readonly node_id: string;
  readonly source: string;
  readonly labels: readonly string[];
  readonly registered_at: Date;
  readonly labels_set_at: Date | null;
  readonly backup_id: string | null;
  readonly instant: Date | null;
  readonly completed_at: Date | null;
}

/** Looks up how VMs are protected: their policies, their RPO, and whether it is kept. */
@Injectable()
export class ProtectionReader {
  constructor(
    private readonly dataSource: DataSource,
    private readonly policyReader: PolicyReader,
  ) {}

  /** All VMs by name, and all policies. */
  async look(now: string): Promise<{ readonly protections: readonly Protection[]; readonly policies: readonly CoveringPolicy[] }> {
    const rows = await this.dataSource.query<Row[]>(VMS_WITH_NEWEST_POINT);
    const policies = (await this.policyReader.all()).map(({ policy_id, version, settings, edited_at }): CoveringPolicy => ({
      policy_id,
      version,
      settings,
      edited_at: edited_at.toISOString(),
    }));
    return { protections: protectionsOf(rows.map(toVm), policies, now), policies };
  }
}

function toVm({ vm_id, name, node_id, source, labels, registered_at, labels_set_at, backup_id, instant, completed_at }: Row): ProtectedVm {
  const found = backup_id !== null && instant !== null && completed_at !== null;
  return {
    vm_id,
    name,
    node_id,
    source,
    labels,
    registered_at: registered_at.toISOString(),
    labels_set_at: labels_set_at?.toISOString() ?? null,
    newest: found ? { backup_id, instant: instant.toISOString(), completed_at: completed_at.toISOString() } : null,
  };
}
