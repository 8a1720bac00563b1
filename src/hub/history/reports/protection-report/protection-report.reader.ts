import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { ProtectionReader } from '../../../backup/policies/model/protection.reader.js';
import type { ProtectionFacts, VmRestorePoints } from './protection-report.plan.js';

const POINTS = `
  select vm_id, count(*)::int as restore_points, count(damage)::int as damaged, count(pin)::int as pinned, count(hold)::int as held
    from backups where status = 'completed' group by vm_id`;
const ONCE_BACKED_UP = `select distinct vm_id from backups where vm_id = any($1) and status = 'deleted'`;
const VERIFIED_OF_VMS = `select vm_id as id, max(ended_at) as at from verifications where status = 'passed' group by vm_id`;
const VERIFIED_OF_POINTS = `select backup_id as id, max(ended_at) as at from verifications where backup_id = any($1) and status = 'passed' group by backup_id`;
const COPIES = `
  select backup_id as id, count(*)::int as copies from copies where backup_id = any($1) and status = 'completed' and damage is null group by backup_id`;

interface Verified {
  readonly id: string;
  readonly at: Date;
}

/** Reads how all VMs are protected: a fixed number of queries, however many VMs there are. */
@Injectable()
export class ProtectionReportReader {
  constructor(
    private readonly dataSource: DataSource,
    private readonly protection: ProtectionReader,
  ) {}

  async read(at: string): Promise<ProtectionFacts> {
    const { protections } = await this.protection.look(at);
    const rows = await this.dataSource.query<({ readonly vm_id: string } & VmRestorePoints)[]>(POINTS);
    const points = new Map(rows.map(({ vm_id, ...counts }) => [vm_id, counts]));
    const without = protections.map(({ vm }) => vm.vm_id).filter((vm_id) => !points.has(vm_id));
    const backedUp = await this.dataSource.query<{ readonly vm_id: string }[]>(ONCE_BACKED_UP, [without]);
    const newest = protections.flatMap(({ vm }) => (vm.newest === null ? [] : [vm.newest.backup_id]));
    const copies = await this.dataSource.query<{ readonly id: string; readonly copies: number }[]>(COPIES, [newest]);
    return {
      protections,
      points,
      backedUp: new Set(backedUp.map(({ vm_id }) => vm_id)),
      verified: byId(await this.dataSource.query<Verified[]>(VERIFIED_OF_VMS)),
      pointVerified: byId(await this.dataSource.query<Verified[]>(VERIFIED_OF_POINTS, [newest])),
      copies: new Map(copies.map(({ id, copies: number }) => [id, number])),
    };
  }
}

function byId(rows: readonly Verified[]): ReadonlyMap<string, string> {
  return new Map(rows.map(({ id, at }) => [id, at.toISOString()]));
}
