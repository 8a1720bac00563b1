import { setImmediate as breathe } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { DataSource, type FindOptionsWhere, In, MoreThan, MoreThanOrEqual, Not } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { RestoreExportReadModel } from '../../../../../projections/restore-exports/restore-exports.read-model.js';
import { RestoreJobReadModel } from '../../../../../projections/restore-jobs/restore-jobs.read-model.js';
import { RestoreMountReadModel } from '../../../../../projections/restore-mounts/restore-mounts.read-model.js';
import type { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { mountOf, mountTable } from '../../../../lib/files/mount-table.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { HubConfig } from '../../../hub.config.js';
import { typeOfNext } from '../../backups/model/backup-facts.reader.js';
import { planOutlined, SHARING } from '../../chains/model/prunable-chain.reader.js';
import { PolicyReader } from '../model/policy.reader.js';
import type { ActivePolicy } from '../model/policy.state.js';
import { RetentionCalendar, type RetentionVersion, retentionVersion } from '../model/retention.plan.js';
import { COLUMNS, pointOf, RetentionReader } from '../model/retention.reader.js';
import type { Selection } from '../model/selection.plan.js';
import { Forecast, type ForecastResult, type VmHistory } from './forecast.plan.js';
import { type HindsightPoint, hindsightOf, type PastPoint, type PastRestore } from './hindsight.plan.js';
import { plannedRuns } from './planned-runs.plan.js';
import type { TimelinePoint, TimelineRules } from './vm-timeline.plan.js';

/** What the methods read. */
export const WHAT_IF_READ_MODELS = ['policies', 'blackouts', 'vms', 'backups', 'repositories', 'restore_mounts', 'restore_jobs', 'restore_exports'] as const;

/** So many backups of a horizon are simulated: three years of 1,000 VMs with a backup a day. */
const MOST_BACKUPS = 1_200_000;
const MOST_RUNS = 110_000;
/** Decisions about one restore point; some minutes of work. */
const MOST_JUDGED = 120_000_000;
const VMS_AT_ONCE = 100;
/** So many newest restore points of a kind say how large the next will be. */
const SIZES_OF = 30;
const SLICE_MS = 15;
const MOST_SHOWN = 1_000;

const POINT_COLUMNS = { ...COLUMNS, chain_id: true, repository_id: true, files: true, deleted_at: true } as const;
type PointRow = Pick<BackupReadModel, keyof typeof POINT_COLUMNS>;

type Names = { readonly vm_id: string; readonly vm_name: string; readonly at: number };
export type ShownPoint = HindsightPoint & Names;
export type ShownRestore = PastRestore & { readonly kind: RestoreKind; readonly restore_id: string; readonly vm_name: string; readonly gone_at: number };
export type RestoreKind = 'disks' | 'vm' | 'mount' | 'export';

export interface HindsightResult {
  readonly restore_points: { readonly existed: number; readonly would_exist: number; readonly only_now: number; readonly only_then: number };
  /** Those that differ from now first. */
  readonly points: readonly ShownPoint[];
  readonly restores: number;
  readonly impossible: { readonly count: number; readonly first: readonly ShownRestore[] };
}

/** Simulates a policy over what is recorded. Nothing is changed. */
@Injectable()
export class WhatIfReader {
  constructor(
    private readonly dataSource: DataSource,
    private readonly policies: PolicyReader,
    private readonly retention: RetentionReader,
    private readonly files: RepositoryFiles,
    private readonly config: HubConfig,
  ) {}

  /** @throws DomainError simulation_too_large */
  async forward(policy: ActivePolicy, from: string, until: string): Promise<ForecastResult & { readonly free_bytes: number | null }> {
    const turns = new Turns();
    const { policy_id, settings } = policy;
    const { free_bytes, shares_blocks } = await this.storage(settings.repository_id);
    const rules = this.rulesOf(policy_id, policy.retentions, settings.time_zone, shares_blocks);
    const forecast = new Forecast({ policy, from, until, max_chain_length: this.config.chainMaxLength, free_bytes, rules });
    const { vms, at, optOuts } = await this.policies.selector(policy_id, settings);
    const selectionAt = remembered(
      at,
      optOuts.flatMap(({ until: end }) => (end === null ? [] : [end])),
    );
    forecast.select(selectionAt(from).vms.map(({ vm_id }) => vm_id));
    let [runs, backups] = [0, 0];
    for (const run of plannedRuns({ ...policy, settings: await this.policies.withBlackouts(settings) }, from, until, selectionAt)) {
      forecast.addRun(run);
      runs += 1;
      backups += run.starts.length;
      if (runs > MOST_RUNS || backups > MOST_BACKUPS) throw tooLarge(`more than ${runs > MOST_RUNS ? `${MOST_RUNS} runs` : `${MOST_BACKUPS} backups`}`);
      await turns.take();
    }
    const wanted = new Set([...forecast.vmIds(), ...(await this.retention.vmsOf(policy_id))]);
    const known = new Map(vms.map((vm) => [vm.vm_id, vm]));
    for await (const [vmId, rows] of this.rowsOf([...wanted], [{ status: 'completed' }])) {
      forecast.addVm(historyOf(vmId, known.get(vmId), rows, policy));
      await turns.take();
    }
    return { ...forecast.result(), free_bytes };
  }

  async backward({ policy_id, settings }: ActivePolicy, since: string, now: string): Promise<HindsightResult> {
    const turns = new Turns();
    const { shares_blocks } = await this.storage(settings.repository_id);
    const rules = this.rulesOf(policy_id, [retentionVersion(1, settings)], settings.time_zone, shares_blocks);
    const { vms } = await this.policies.selection(policy_id, settings, now);
    const [sinceMs, nowMs] = [Date.parse(since), Date.parse(now)];
    const restoresOf = Map.groupBy(await this.restoresSince(new Date(since)), ({ vm_id }) => vm_id);
    const counts = { existed: 0, would_exist: 0, only_now: 0, only_then: 0 };
    const [differing, alike]: [ShownPoint[], ShownPoint[]] = [[], []];
    const impossible: ShownRestore[] = [];
    let [restores, impossibleCount] = [0, 0];
    const { repository_id } = settings;
    const where: FindOptionsWhere<BackupReadModel>[] = [
      { repository_id, status: 'completed' },
      { repository_id, status: 'deleted', deleted_at: MoreThan(new Date(since)) },
    ];
    for await (const [vmId, rows] of this.rowsOf(
      vms.map(({ vm_id }) => vm_id),
      where,
    )) {
      const points = rows
        .filter(({ completed_at }) => completed_at !== null && completed_at.getTime() <= nowMs)
        .map((row): PastPoint => {
          const point = toPoint(row, null);
          return {
            ...point,
            tiers: [],
            policy_version: 1,
            made_by_policy: row.policy_id !== null,
            completed_at: (row.completed_at ?? new Date(0)).getTime(),
            exists: row.status === 'completed',
            expiry: null,
          };
        })
        .sort((a, b) => a.completed_at - b.completed_at);
      const ids = new Set(points.map(({ backup_id }) => backup_id));
      const own = (restoresOf.get(vmId) ?? []).filter(({ backup_id }) => ids.has(backup_id));
      const found = hindsightOf(points, own, rules, sinceMs, nowMs);
      const byId = new Map(rows.map((row, index) => [row.backup_id, { vm_name: row.vm_name, index }]));
      const instants = new Map(points.map((point) => [point.backup_id, point.at]));
      for (const point of found.points) {
        const { exists, would_exist, backup_id } = point;
        counts.existed += 1;
        if (would_exist) counts.would_exist += 1;
        if (exists && !would_exist) counts.only_now += 1;
        if (!exists && would_exist) counts.only_then += 1;
        const shown = { ...point, vm_id: vmId, vm_name: byId.get(backup_id)?.vm_name ?? '', at: instants.get(backup_id) ?? 0 };
        const list = exists === would_exist ? alike : differing;
        if (list.length < MOST_SHOWN) list.push(shown);
      }
      restores += own.length;
      impossibleCount += found.impossible.size;
      for (const restore of own) {
        const gone_at = found.impossible.get(restore);
        if (gone_at !== undefined && impossible.length < MOST_SHOWN) impossible.push({ ...restore, gone_at });
      }
      await turns.take();
    }
    return {
      restore_points: counts,
      points: [...differing, ...alike].slice(0, MOST_SHOWN),
      restores,
      impossible: { count: impossibleCount, first: impossible },
    };
  }

  private rulesOf(policy_id: string, versions: readonly RetentionVersion[], time_zone: string, shares_blocks: boolean): TimelineRules {
    let work = 0;
    return {
      policy_id,
      versions,
      time_zone,
      grace_ms: this.config.expiryGraceSeconds * 1_000,
      shares_blocks,
      calendar: new RetentionCalendar(),
      typeOfNext,
      planPruning: planOutlined,
      judged: (points) => {
        work += points;
        if (work > MOST_JUDGED) throw tooLarge(`more than ${MOST_JUDGED} decisions about restore points`);
      },
    };
  }

  /** Of a repository that cannot be reached, the free space is unknown. */
  private async storage(repositoryId: string): Promise<{ readonly free_bytes: number | null; readonly shares_blocks: boolean }> {
    const repository = await this.dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id: repositoryId });
    if (repository === null) return { free_bytes: null, shares_blocks: false };
    try {
      await this.files.checkPresent(repositoryId, repository.path);
      const free_bytes = await this.files.freeBytes(repository.path);
      return { free_bytes, shares_blocks: SHARING.includes(mountOf(repository.path, await mountTable())?.filesystemType ?? '') };
    } catch (error) {
      if (error instanceof DomainError) return { free_bytes: null, shares_blocks: false };
      throw error;
    }
  }

  /** VM by VM, its restore points in the order in which they were requested. */
  private async *rowsOf(
    vmIds: readonly string[],
    where: readonly FindOptionsWhere<BackupReadModel>[],
  ): AsyncGenerator<readonly [vmId: string, rows: readonly PointRow[]]> {
    for (let at = 0; at < vmIds.length; at += VMS_AT_ONCE) {
      const ids = vmIds.slice(at, at + VMS_AT_ONCE);
      const rows = await this.dataSource
        .getRepository(BackupReadModel)
        .find({ select: POINT_COLUMNS, where: where.map((one) => ({ ...one, vm_id: In(ids) })), order: { created_position: 'ASC' } });
      const groups = Map.groupBy(rows, ({ vm_id }) => vm_id);
      for (const vmId of ids) yield [vmId, groups.get(vmId) ?? []];
    }
  }

  /** What read restore points; what failed before it could is no restore. */
  private async restoresSince(since: Date): Promise<readonly (Omit<ShownRestore, 'gone_at'> & { readonly vm_id: string })[]> {
    const [jobs, mounts, served] = await Promise.all([
      this.dataSource.getRepository(RestoreJobReadModel).findBy({ requested_at: MoreThanOrEqual(since), status: In(['running', 'completed']) }),
      this.dataSource.getRepository(RestoreMountReadModel).findBy({ ready_at: MoreThanOrEqual(since) }),
      this.dataSource.getRepository(RestoreExportReadModel).findBy({ requested_at: MoreThanOrEqual(since), status: Not('failed') }),
    ]);
    return [
      ...jobs.map(({ kind, job_id, requested_at, ...job }) => restoreOf(kind, job_id, requested_at, job)),
      ...mounts.map(({ mount_id, created_at, ...mount }) => restoreOf('mount', mount_id, created_at, mount)),
      ...served.map(({ export_id, requested_at, ...one }) => restoreOf('export', export_id, requested_at, one)),
    ].sort((a, b) => a.at - b.at);
  }
}

type RestoredNames = { readonly backup_id: string; readonly vm_id: string; readonly vm_name: string };

function restoreOf(kind: RestoreKind, restore_id: string, at: Date, { backup_id, vm_id, vm_name }: RestoredNames) {
  return { kind, restore_id, at: at.getTime(), backup_id, vm_id, vm_name };
}

function historyOf(vmId: string, vm: VmReadModel | undefined, rows: readonly PointRow[], { policy_id, settings }: ActivePolicy): VmHistory {
  const points = rows.map((row) => toPoint(row, policy_id));
  const inRepository = points.filter(({ repository_id }) => repository_id === settings.repository_id);
  const sizesOf = (full: boolean): number | null =>
    medianOf(
      inRepository
        .filter(({ parent_backup_id, bytes }) => (parent_backup_id === null) === full && bytes > 0)
        .slice(-SIZES_OF)
        .map(({ bytes }) => bytes),
    );
  const full_bytes = sizesOf(true);
  const newest = rows.reduce<VmHistory['newest']>((found, { backup_id, instant, completed_at, damage }) => {
    if (damage !== null || instant === null || completed_at === null) return found;
    const at = (instant < completed_at ? instant : completed_at).toISOString();
    return found === null || at > found.instant ? { backup_id, instant: at, completed_at: completed_at.toISOString() } : found;
  }, null);
  return {
    vm: {
      vm_id: vmId,
      name: vm?.name ?? rows[0]?.vm_name ?? vmId,
      node_id: vm?.node_id ?? '',
      source: vm?.source ?? '',
      labels: vm?.labels ?? [],
      registered_at: vm?.registered_at.toISOString() ?? '',
      labels_set_at: vm?.labels_set_at?.toISOString() ?? null,
    },
    sizes: full_bytes === null ? null : { full_bytes, incremental_bytes: sizesOf(false) },
    points,
    newest,
  };
}

/** @param policyId whose restore points are judged */
function toPoint(row: PointRow, policyId: string | null): TimelinePoint {
  const { backup_id, policy_id, repository_id, chain_id, parent_backup_id, files, expiry } = row;
  // A mount or a restore of now does not last.
  const { at, good, tiers, policy_version, locked_until, protections } = pointOf(row, new Set());
  return {
    backup_id,
    at,
    good,
    tiers,
    policy_version,
    locked_until,
    protections,
    made_by_policy: policy_id !== null && policy_id === policyId,
    repository_id,
    chain_id: chain_id ?? backup_id,
    parent_backup_id,
    bytes: (files ?? []).reduce((sum, { size_bytes }) => sum + size_bytes, 0),
    expiry: expiry === null ? null : { grace_until: Date.parse(expiry.grace_until) },
  };
}

function medianOf(values: readonly number[]): number | null {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? null;
}

/** The selection changes only when an opt-out ends. */
function remembered(selectionAt: (at: string) => Selection, ends: readonly string[]): (at: string) => Selection {
  let [known, until] = [null as Selection | null, ''];
  return (at) => {
    if (known === null || (until !== '' && at >= until)) {
      known = selectionAt(at);
      until = ends.filter((end) => end > at).sort()[0] ?? '';
    }
    return known;
  };
}

function tooLarge(what: string): DomainError {
  return new DomainError('invalid', 'simulation_too_large', `The simulation would take ${what}. Shorten the horizon.`, {
    field: 'horizon',
    rule: 'bounded_work',
  });
}

/** Lets the hub do other work every few milliseconds. */
class Turns {
  private since = performance.now();

  async take(): Promise<void> {
    if (performance.now() - this.since < SLICE_MS) return;
    await breathe();
    this.since = performance.now();
  }
}
