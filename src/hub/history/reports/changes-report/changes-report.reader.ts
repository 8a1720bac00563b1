import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import type { JsonObject } from '../../../../kernel/json.js';
import { validationProblem } from '../../../../lib/http/problem.js';
import type { Period } from '../model/period.plan.js';
import type { Access, ChangesFacts, Deletion, PolicyChange, ProtectionChange } from './changes-report.plan.js';

/** Rows of each table of the report. */
const MAX_ROWS = 20_000;

const POLICY_TYPES: readonly PolicyChange['type'][] = ['PolicyCreated', 'PolicyEdited', 'PolicyDeleted'];
const DELETION_TYPES: readonly Deletion['type'][] = ['BackupDeleted', 'VmRemoved', 'RepositoryDeleted'];
const PROTECTION_TYPES: readonly ProtectionChange['type'][] = ['RestorePointPinned', 'RestorePointUnpinned', 'RestorePointHeld', 'RestorePointReleased'];
const ACCESS_TYPES = ['RestorePointAccessed', 'RestoreJobRequested', 'VmRestoreRequested', 'RestoreExportRequested', 'MountRequested'] as const;

/** The actor of a correlation's first event requested all of it. The exports of a restore, and listings of names, do not count as accesses. */
const EVENTS = `
  select log_position as position, stream, type, time as at, data - 'disks' as data,
         coalesce((select actor from audit_events first where first.correlation_id = event.correlation_id order by log_position limit 1), actor) as by
    from audit_events event
   where type = any($1) and time >= $2 and time < $3 and data ->> 'held_by' is null
     and coalesce(data ->> 'operation', '') not in ('list_files', 'file_info')
   order by log_position limit ${MAX_ROWS + 1}`;
const VERSIONS = `
  select stream, log_position as position, (data ->> 'version')::int as version, data -> 'settings' as settings
    from audit_events where stream = any($1) and type in ('PolicyCreated', 'PolicyEdited') order by log_position`;
const EXPIRED = `
  select data ->> 'policy_id' as policy_id, (data ->> 'policy_version')::int as version, count(*)::int as expired
    from audit_events where type = 'RestorePointExpired' and log_position > $1 group by 1, 2`;
const NAMES = `
  select distinct on (stream) stream, coalesce(data ->> 'name', data -> 'settings' ->> 'name') as name
    from audit_events
   where stream = any($1) and type in ('VmRegistered', 'RepositoryCreated', 'RepositoryCreatedV2', 'RepositoryImported', 'PolicyCreated', 'PolicyEdited')
   order by stream, log_position desc`;
const BACKUPS = `
  select backup_id, vm_name, instant, expiry, manifest_sha256 is not null and error is null and not undone as is_restore_point,
         error ->> 'code' as code, (select coalesce(sum((file ->> 'size_bytes')::bigint), 0) from jsonb_array_elements(files) file)::float8 as size_bytes
    from backups where backup_id = any($1)`;
const ENDS = `
  select data ->> 'access_id' as id, data ->> 'outcome' as outcome, (data ->> 'bytes_sent')::float8 as bytes_sent
    from audit_events where stream = any($1) and type = 'RestorePointAccessEnded'`;
const OUTCOMES = `
  select job_id as id, status, error ->> 'code' as code from restore_jobs where job_id = any($1)
  union all select export_id, status, error ->> 'code' from restore_exports where export_id = any($1)
  union all select mount_id, status, error ->> 'code' from restore_mounts where mount_id = any($1)`;

interface StoredEvent<Type extends string = string> {
  readonly position: string;
  readonly stream: string;
  readonly type: Type;
  readonly at: Date;
  readonly by: string;
  readonly data: JsonObject;
}

interface StoredVersion {
  readonly stream: string;
  readonly position: string;
  readonly version: number;
  readonly settings: JsonObject;
}

interface StoredBackup {
  readonly backup_id: string;
  readonly vm_name: string;
  readonly instant: Date | null;
  readonly is_restore_point: boolean;
  readonly code: string | null;
  readonly size_bytes: number;
  readonly expiry: ({ readonly policy_id: string } & Pick<NonNullable<NonNullable<Deletion['backup']>['expiry']>, 'policy_version' | 'reasons'>) | null;
}

/** Reads from the log what was changed in a period, and who read data. */
@Injectable()
export class ChangesReportReader {
  constructor(private readonly dataSource: DataSource) {}

  /** @throws HttpProblem 400 if the period has more rows than a report may have */
  async read(period: Period): Promise<ChangesFacts> {
    const policies = await this.events(POLICY_TYPES, period, 'changes of policies');
    const deletions = await this.events(DELETION_TYPES, period, 'deletions');
    const protections = await this.events(PROTECTION_TYPES, period, 'pins and holds');
    const accesses = await this.events(ACCESS_TYPES, period, 'restores and downloads');
    const ids = [...deletions, ...protections, ...accesses].map(backupIdOf);
    const stored = await this.dataSource.query<StoredBackup[]>(BACKUPS, [[...new Set(ids)]]);
    const backups = new Map(stored.map((backup) => [backup.backup_id, backup]));
    return {
      policies: await this.policyChanges(policies),
      deletions: await this.deletions(deletions, backups),
      protections: protections.map((event): ProtectionChange => {
        const backup_id = idOf(event.stream);
        const backup = backups.get(backup_id);
        const reason = textOf(event.data, 'reason') ?? '';
        return { ...recorded(event), type: event.type, backup_id, vm: backup?.vm_name ?? null, instant: instantOf(backup), reason };
      }),
      accesses: await this.accesses(accesses, backups),
    };
  }

  private async events<Type extends string>(types: readonly Type[], { from, until }: Period, what: string): Promise<readonly StoredEvent<Type>[]> {
    const found = await this.dataSource.query<StoredEvent<Type>[]>(EVENTS, [types, from, until]);
    if (found.length <= MAX_ROWS) return found;
    throw validationProblem([{ field: 'from', rule: 'max_rows', message: `from must be closer to until: at most ${MAX_ROWS} ${what} may lie in between` }]);
  }

  private async policyChanges(events: readonly StoredEvent<PolicyChange['type']>[]): Promise<readonly PolicyChange[]> {
    const [first] = events;
    if (first === undefined) return [];
    const streams = [...new Set(events.map(({ stream }) => stream))];
    const versions = Map.groupBy(await this.dataSource.query<StoredVersion[]>(VERSIONS, [streams]), ({ stream }) => stream);
    const counted = await this.dataSource.query<{ readonly policy_id: string; readonly version: number; readonly expired: number }[]>(EXPIRED, [
      first.position,
    ]);
    return events.map((event): PolicyChange => {
      const policy_id = idOf(event.stream);
      const own = versions.get(event.stream) ?? [];
      const made = own.find(({ position }) => position === event.position);
      const before = own.findLast(({ position }) => position < event.position)?.settings ?? null;
      const expired = counted.find((one) => one.policy_id === policy_id && one.version === made?.version)?.expired ?? 0;
      return { ...recorded(event), type: event.type, policy_id, version: made?.version ?? null, settings: made?.settings ?? null, before, expired };
    });
  }

  private async deletions(events: readonly StoredEvent<Deletion['type']>[], backups: ReadonlyMap<string, StoredBackup>): Promise<readonly Deletion[]> {
    const policies = [...backups.values()].flatMap(({ expiry }) => (expiry === null ? [] : [`policy-${expiry.policy_id}`]));
    const streams = [...new Set([...events.map(({ stream }) => stream), ...policies])];
    const named = await this.dataSource.query<{ readonly stream: string; readonly name: string }[]>(NAMES, [streams]);
    const names = new Map(named.map(({ stream, name }) => [stream, name]));
    return events.map((event): Deletion => {
      const id = idOf(event.stream);
      const found = event.type === 'BackupDeleted' ? backups.get(id) : undefined;
      if (found === undefined) return { ...recorded(event), type: event.type, id, name: names.get(event.stream) ?? null, backup: null };
      const { is_restore_point, code, size_bytes, expiry } = found;
      const expired = expiry === null ? null : { ...expiry, policy: names.get(`policy-${expiry.policy_id}`) ?? expiry.policy_id };
      const backup = { is_restore_point, status_detail: code, instant: instantOf(found), size_bytes, expiry: expired };
      return { ...recorded(event), type: event.type, id, name: found.vm_name, backup };
    });
  }

  private async accesses(
    events: readonly StoredEvent<(typeof ACCESS_TYPES)[number]>[],
    backups: ReadonlyMap<string, StoredBackup>,
  ): Promise<readonly Access[]> {
    const streams = [...new Set(events.filter(({ type }) => type === 'RestorePointAccessed').map(({ stream }) => stream))];
    const ended = await this.dataSource.query<{ readonly id: string; readonly outcome: string; readonly bytes_sent: number }[]>(ENDS, [streams]);
    const ends = new Map(ended.map((end) => [end.id, end]));
    const started = events.filter(({ type }) => type !== 'RestorePointAccessed').map(({ stream }) => idOf(stream));
    const stored = await this.dataSource.query<{ readonly id: string; readonly status: string; readonly code: string | null }[]>(OUTCOMES, [started]);
    const outcomes = new Map(stored.map(({ id, status, code }) => [id, code === null ? status : `${status} (${code})`]));
    return events.map((event): Access => {
      const { type, data } = event;
      const backup_id = backupIdOf(event);
      const of = { ...recorded(event), backup_id, vm: textOf(data, 'vm_name') ?? '', instant: instantOf(backups.get(backup_id)) };
      const id = type === 'RestorePointAccessed' ? (textOf(data, 'access_id') ?? '') : idOf(event.stream);
      const opened = { ...of, id, address: null, outcome: outcomes.get(id) ?? null, bytes_sent: null };
      switch (type) {
        case 'RestorePointAccessed': {
          const end = ends.get(id);
          const read = { address: textOf(data, 'source_address'), target: textOf(data, 'resolved_path') ?? textOf(data, 'path') };
          const operation = textOf(data, 'operation') ?? '';
          return { ...of, ...read, id, kind: 'download', operation, outcome: end?.outcome ?? null, bytes_sent: end?.bytes_sent ?? null };
        }
        case 'RestoreJobRequested':
          return { ...opened, kind: 'restore', operation: 'restore_disks', target: textOf(data, 'target_path') };
        case 'VmRestoreRequested':
          return { ...opened, kind: 'restore', operation: data['mode'] === 'instant' ? 'instant_vm' : 'restore_vm', target: textOf(data, 'name') };
        case 'RestoreExportRequested':
          return { ...opened, kind: 'open', operation: data['mode'] === 'read_write' ? 'export_read_write' : 'export', target: textOf(data, 'export_name') };
        case 'MountRequested':
          return { ...opened, kind: 'open', operation: 'mount', target: null };
      }
    });
  }
}

function recorded({ position, at, by }: StoredEvent): { readonly position: string; readonly at: string; readonly by: string } {
  return { position, at: at.toISOString(), by };
}

/** Events of backups are in streams of their own; those of restores name the backup. */
function backupIdOf({ stream, data }: StoredEvent): string {
  return textOf(data, 'backup_id') ?? idOf(stream);
}

function instantOf(backup: StoredBackup | undefined): string | null {
  return backup?.instant?.toISOString() ?? null;
}

function textOf(data: JsonObject, member: string): string | null {
  const value = data[member];
  return typeof value === 'string' ? value : null;
}

function idOf(stream: string): string {
  return stream.slice(stream.indexOf('-') + 1);
}
