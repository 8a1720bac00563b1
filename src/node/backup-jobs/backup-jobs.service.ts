import { createHash } from 'node:crypto';
import { Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import pLimit, { type LimitFunction } from 'p-limit';
import { DomainError } from '../../kernel/domain-error.js';
import { Clock } from '../../lib/clock/clock.js';
import { NodeConfig } from '../node.config.js';
import { canonicalJson } from '../../lib/http/canonical-json.js';
import { KeyedMutex } from '../../lib/concurrency/keyed-mutex.js';
import { loggerFor } from '../../lib/logging/logger.js';
import type { NodeJobReport, NodeSettleBackup, NodeStartBackup } from '../../contract/backup-job.js';
import { changeIdPrefix, jobOfChangeId } from '../../contract/change-id.js';
import type { NodeChangeIds, NodeChangeIdsRemoved, NodeRemoveChangeIds, NodeVmProblem } from '../../contract/change-ids.js';
import { parseExportUri } from '../../lib/nbd/nbd-uri.js';
import { ProcessSupervisor } from '../../lib/process/process-supervisor.port.js';
import { repeat, type Repetition } from '../../lib/process/repeat.js';
import { ActiveJobs } from '../model/active-jobs.registry.js';
import { type JobRecord, newJob, withoutKeys } from '../model/job.state.js';
import { parseNbdTargets } from '../model/nbd-targets.plan.js';
import { Sources } from '../sources/sources.js';
import { BackupJob, type JobDependencies } from './backup-job.js';
import { JobJournal } from './job-journal.js';
import { TelemetryPush } from './telemetry-push.js';

/** Interval between searches for resources that no running backup owns. */
const RECONCILE_MS = 20_000;
/** Shorter interval after a hypervisor was unreachable: on return it may have lost its latest state. */
const RECONCILE_AGAIN_MS = 5_000;
const ORPHAN_STOP_GRACE_MS = 3_000;
/** How long a settle waits for the job it stops before the hub must retry. Shorter than the hub's own timeout. */
const SETTLE_PATIENCE_MS = 8_000;
/** How many settled job ids are remembered, so that a delayed start request does not revive such a job. */
const SETTLED_REMEMBERED = 10_000;

/** All backup jobs of this node: starts them, resumes them after restarts, and settles them. */
@Injectable()
export class BackupJobs implements OnModuleInit, OnApplicationShutdown {
  private readonly logger = loggerFor('BackupJobs');
  private readonly jobs = new Map<string, BackupJob>();
  private readonly settled = new Set<string>();
  /** Descriptions of removed resources without an owner, until the hub acknowledges them. */
  private readonly swept = new Set<string>();
  /** Problems by source, as of its last search. */
  private readonly problems = new Map<string, readonly NodeVmProblem[]>();
  private reconciling: Promise<void> = Promise.resolve();
  /** A source could not be queried last time. */
  private unlooked = false;
  private reconciliation: Repetition | null = null;
  private readonly slots: LimitFunction;
  private readonly vmLocks = new KeyedMutex();
  private readonly announcements = new Map<string, Repetition>();

  constructor(
    private readonly config: NodeConfig,
    private readonly clock: Clock,
    private readonly journal: JobJournal,
    private readonly sources: Sources,
    private readonly supervisor: ProcessSupervisor,
    private readonly telemetry: TelemetryPush,
    active: ActiveJobs,
  ) {
    active.add(() => [...this.jobs.values()].filter((job) => !job.finished).length);
    this.slots = pLimit(config.maxParallelTransfers);
  }

  /** Before the first request is answered, all earlier jobs are loaded and leftovers without a job are removed. */
  async onModuleInit(): Promise<void> {
    const { records, broken } = await this.journal.load();
    for (const jobId of broken) {
      this.logger.error('a job with an unreadable journal is abandoned', { job_id: jobId });
      await this.journal.remove(jobId);
    }
    for (const record of records) this.jobs.set(record.request.job_id, new BackupJob(record, this.dependenciesOf(record)));
    await this.sweepJobs();
    for (const job of this.jobs.values()) {
      await job.resume();
      if (!job.finished) this.logger.info('resuming a backup job after a restart of this node', { job_id: job.id });
      this.launch(job);
    }
    // An unreachable hypervisor must not delay the start; it is checked once it is back.
    this.reconciliation = repeat(
      () => (this.unlooked ? RECONCILE_AGAIN_MS : RECONCILE_MS),
      () => void this.sweep(),
    );
    void this.sweep();
  }

  /** Changes with the findings that `changeIds` reports besides change ids; `none` if there are none. */
  get findings(): string {
    const all = [...this.swept, ...[...this.problems.values()].flat().map(({ source, source_ref, code }) => `${source} ${source_ref} ${code}`)].sort();
    return all.length === 0 ? 'none' : createHash('sha256').update(all.join('\n')).digest('hex').slice(0, 16);
  }

  /** Every change id of the hub on the VMs of this node, and removed resources without an owner. Also searches for such resources now. */
  async changeIds(hubId: string): Promise<NodeChangeIds> {
    await this.sweep();
    const own = changeIdPrefix(hubId);
    const found = await Promise.all(
      this.sources.all.map(async (source) =>
        (await source.changeIds()).map((vm) => ({ source: source.kind, ...vm, change_ids: vm.change_ids.filter((id) => id.startsWith(own)) })),
      ),
    );
    return { vms: found.flat().filter((vm) => vm.change_ids.length > 0), swept: [...this.swept], vm_problems: [...this.problems.values()].flat() };
  }

  /** Skips change ids of unsettled jobs, and VMs that are being backed up. Any that cannot be removed now are found again next time. */
  async removeChangeIds(request: NodeRemoveChangeIds): Promise<NodeChangeIdsRemoved> {
    for (const known of request.known_swept) this.swept.delete(known);
    const own = changeIdPrefix(request.hub_id);
    const removed: NodeChangeIdsRemoved['removed'][number][] = [];
    for (const { source: kind, source_ref, change_ids } of request.vms) {
      const source = this.sources.of(kind);
      const wanted = new Set(change_ids.filter((id) => id.startsWith(own) && !this.jobs.has(jobOfChangeId(request.hub_id, id))));
      try {
        const vmKey = await canonicalOrGiven(source_ref, (ref) => source.canonicalRef(ref));
        await this.vmLocks.runExclusive(vmKey, async () => {
          if (this.activeJobOf(vmKey) !== undefined) return;
          for (const change_id of await source.removeChangeIds(source_ref, (id) => wanted.has(id))) removed.push({ source: kind, source_ref, change_id });
        });
      } catch (error) {
        this.logger.warn('unneeded change ids cannot be removed now', { source_ref, error });
      }
    }
    return { removed };
  }

  /** Copies keep running; the next start of the node resumes them. */
  onApplicationShutdown(): void {
    for (const job of this.jobs.values()) job.detach();
    for (const announcement of this.announcements.values()) announcement.stop();
    this.announcements.clear();
    this.reconciliation?.stop();
  }

  /**
   * Starts a job, or returns its state if it was already started.
   * @throws DomainError nbd_targets_malformed, nbd_targets_mismatch, export_key_missing, vm_not_found, job_exists (with another body), job_settled, vm_busy
   */
  async start(request: NodeStartBackup): Promise<NodeJobReport> {
    const known = this.jobs.get(request.job_id);
    if (known !== undefined) return this.sameOrRefused(known, request);
    const targets = parseNbdTargets(
      request.nbd_targets_string,
      request.disks.map((disk) => disk.disk_key),
    );
    const keyless = request.disks.find(({ disk_key, export_key }) => export_key === undefined && parseExportUri(targets.get(disk_key) ?? '').needsKey);
    if (keyless !== undefined) {
      throw new DomainError(
        'invalid',
        'export_key_missing',
        `The target of disk "${keyless.disk_key}" needs a key (nbds), but disks[].export_key is missing.`,
        {
          disk_key: keyless.disk_key,
        },
      );
    }
    const vmKey = await this.sources.of(request.vm.source).canonicalRef(request.vm.source_ref);
    const job = await this.vmLocks.runExclusive(vmKey, () => this.takeOn(request, vmKey));
    return job.report();
  }

  /** @throws DomainError job_not_found */
  async report(jobId: string): Promise<NodeJobReport> {
    return this.get(jobId).report();
  }

  /** See NodeSettleBackup. @throws DomainError job_running, vm_busy, disk_in_use, change_id_not_removed */
  async settle(jobId: string, request: NodeSettleBackup): Promise<void> {
    const job = this.jobs.get(jobId);
    if (job !== undefined && !job.finished) {
      if (request.outcome === 'committed') throw jobRunning(jobId, 'it can only be discarded');
      await job.cancel();
      if (!(await finishesWithin(job, SETTLE_PATIENCE_MS))) throw jobRunning(jobId, 'it is being stopped; try again');
    }
    const source = this.sources.of(request.vm.source);
    const vmKey = job?.vmKey ?? (await canonicalOrGiven(request.vm.source_ref, (ref) => source.canonicalRef(ref)));
    await this.vmLocks.runExclusive(vmKey, async () => {
      const other = this.activeJobOf(vmKey);
      if (other !== undefined) throw vmBusy(request.vm.source_ref, other.id);
      const own = changeIdPrefix(request.hub_id);
      await source.removeChangeIds(request.vm.source_ref, (changeId) => changeId.startsWith(own) && !request.keep_change_ids.includes(changeId));
      await this.removeProcesses(jobId);
      await this.journal.remove(jobId);
      this.jobs.delete(jobId);
      this.rememberSettled(jobId);
    });
  }

  private async takeOn(request: NodeStartBackup, vmKey: string): Promise<BackupJob> {
    // Check again: another start of the same job may have held the lock first.
    const known = this.jobs.get(request.job_id);
    if (known !== undefined) {
      refuseOtherBody(known, request);
      return known;
    }
    if (this.settled.has(request.job_id)) {
      throw new DomainError('conflict', 'job_settled', `Job ${request.job_id} has been settled and cannot be started again.`, { job_id: request.job_id });
    }
    const other = this.activeJobOf(vmKey);
    if (other !== undefined) throw vmBusy(request.vm.source_ref, other.id);
    const record = newJob(withoutKeys(request), vmKey, this.clock.iso());
    const job = new BackupJob(record, this.dependenciesOf(record));
    this.jobs.set(job.id, job);
    try {
      await job.create(request.disks.map(({ export_key }) => export_key ?? null));
    } catch (error) {
      this.jobs.delete(job.id);
      throw error;
    }
    this.launch(job);
    return job;
  }

  private launch(job: BackupJob): void {
    if (job.finished) return;
    this.slots.concurrency = this.config.maxParallelTransfers;
    const announcement = repeat(
      () => this.config.telemetryIntervalMs,
      () => {
        this.announce(job);
        // The setting may have changed in the meantime.
        this.slots.concurrency = this.config.maxParallelTransfers;
      },
    );
    this.announcements.set(job.id, announcement);
    void job.run().finally(() => {
      announcement.stop();
      this.announcements.delete(job.id);
    });
  }

  private announce(job: BackupJob): void {
    this.telemetry.announce(job.id, () => job.report());
  }

  private dependenciesOf(record: JobRecord): JobDependencies {
    return {
      source: this.sources.of(record.request.vm.source),
      supervisor: this.supervisor,
      journal: this.journal,
      clock: this.clock,
      slots: this.slots,
      tuning: {
        connections: this.config.nbdcopyConnections,
        requests: this.config.nbdcopyRequests,
        requestSize: this.config.nbdcopyRequestSizeBytes,
      },
      targetsAreLocal: this.config.besideHub,
      tunnelDirectory: this.config.tunnelDirectory,
      networkPatienceSeconds: this.config.networkPatienceSeconds,
      onChange: (job) => this.announce(job),
    };
  }

  private async sameOrRefused(known: BackupJob, request: NodeStartBackup): Promise<NodeJobReport> {
    refuseOtherBody(known, request);
    return known.report();
  }

  private activeJobOf(vmKey: string): BackupJob | undefined {
    return [...this.jobs.values()].find((job) => job.vmKey === vmKey && !job.finished);
  }

  private get(jobId: string): BackupJob {
    const job = this.jobs.get(jobId);
    if (job === undefined) throw new DomainError('not_found', 'job_not_found', `This node has no backup job ${jobId}.`, { job_id: jobId });
    return job;
  }

  /** Runs one at a time. Resources that cannot be removed now, for example because a hypervisor is unreachable, are found again next time. Never rejects. */
  private sweep(): Promise<void> {
    this.reconciling = this.reconciling
      .then(() => this.sweepAll())
      .catch((error: unknown) => this.logger.error('the search for resources without an owner failed', { error }));
    return this.reconciling;
  }

  private async sweepAll(): Promise<void> {
    await this.sweepJobs();
    const living = (): readonly string[] => [...this.jobs.values()].filter((job) => !job.finished).map((job) => this.journal.snapshotDirectory(job.id));
    const lookedBefore = !this.unlooked;
    this.unlooked = false;
    for (const source of this.sources.all) {
      try {
        const { removed, problems } = await source.sweep(living);
        for (const what of removed) {
          this.logger.warn('a resource without an owner was found and removed', { what });
          this.swept.add(what);
        }
        this.noteProblems(source.kind, problems);
      } catch (error) {
        this.unlooked = true;
        if (lookedBefore) this.logger.warn('the search for resources without an owner is not possible now; retrying', { source: source.kind, error });
      }
    }
  }

  private noteProblems(kind: string, problems: readonly NodeVmProblem[]): void {
    const known = new Set(this.problems.get(kind)?.map(({ source_ref }) => source_ref));
    for (const { source_ref, code, detail } of problems) {
      if (!known.has(source_ref)) this.logger.error('a VM cannot be backed up without intervention', { source_ref, code, detail });
    }
    this.problems.set(kind, problems);
  }

  private async sweepJobs(): Promise<void> {
    for (const jobId of await this.journal.jobsWithProcesses()) {
      const job = this.jobs.get(jobId);
      if (job !== undefined && !job.finished) continue;
      try {
        await this.removeProcesses(jobId);
        this.swept.add(`leftover processes of backup job ${jobId}`);
      } catch (error) {
        this.logger.warn('leftovers of a backup job cannot be removed now', { job_id: jobId, error });
      }
    }
  }

  private async removeProcesses(jobId: string): Promise<void> {
    for (const directory of await this.journal.copyDirectories(jobId)) {
      await this.supervisor.stop(directory, ORPHAN_STOP_GRACE_MS);
    }
    // The source that took the snapshot is unknown, and each source ignores what is not its own.
    for (const source of this.sources.all) await source.releaseSnapshot(this.journal.snapshotDirectory(jobId));
    await this.journal.removeRunDirectories(jobId);
  }

  private rememberSettled(jobId: string): void {
    this.settled.add(jobId);
    const oldest = this.settled.values().next();
    if (this.settled.size > SETTLED_REMEMBERED && oldest.done !== true) this.settled.delete(oldest.value);
  }
}

function refuseOtherBody(known: BackupJob, request: NodeStartBackup): void {
  if (canonicalJson(known.request) === canonicalJson(withoutKeys(request))) return;
  throw new DomainError('conflict', 'job_exists', `Job ${request.job_id} was already started with a different body.`, { job_id: request.job_id });
}

function vmBusy(sourceRef: string, jobId: string): DomainError {
  return new DomainError('conflict', 'vm_busy', `The VM "${sourceRef}" is being backed up by job ${jobId}; wait until it ends.`, {
    source_ref: sourceRef,
    running_job_id: jobId,
  });
}

function jobRunning(jobId: string, why: string): DomainError {
  return new DomainError('conflict', 'job_running', `Job ${jobId} is still running: ${why}.`, { job_id: jobId });
}

async function canonicalOrGiven(sourceRef: string, canonical: (ref: string) => Promise<string>): Promise<string> {
  try {
    return await canonical(sourceRef);
  } catch (error) {
    // A VM that no longer exists has no change ids left, and settling it is allowed.
    if (error instanceof DomainError && error.code === 'vm_not_found') return sourceRef;
    throw error;
  }
}

async function finishesWithin(job: BackupJob, limitMs: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), limitMs);
  void job.whenFinished().then(() => resolve(true));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}
