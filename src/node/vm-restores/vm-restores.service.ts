import { isAbsolute, normalize } from 'node:path';
import { Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import pLimit from 'p-limit';
import { DomainError } from '../../kernel/domain-error.js';
import { NodeConfig } from '../node.config.js';
import { canonicalJson } from '../../lib/http/canonical-json.js';
import { KeyedMutex } from '../../lib/concurrency/keyed-mutex.js';
import { loggerFor } from '../../lib/logging/logger.js';
import { LibvirtDomains } from '../libvirt/libvirt-domains.js';
import { NbdInfo } from '../../lib/nbd/nbd-info.js';
import type { NodeSettleVmRestore, NodeStartVmRestore, NodeVmRestoreReport } from '../../contract/vm-restore.js';
import { ProcessSupervisor } from '../../lib/process/process-supervisor.port.js';
import { GuestDisks } from '../guest-disks/guest-disks.service.js';
import { requireHubGuests } from '../model/hub-guests.js';
import { ActiveJobs } from '../model/active-jobs.registry.js';
import { requireExportKeys, withoutKeys } from '../model/served-disks.js';
import { newVmRestore } from '../model/vm-restore.state.js';
import { VmRestore, type VmRestoreDependencies } from './vm-restore.js';
import { VmRestoreJournal } from './vm-restore-journal.js';

/** Disks written at a time, over all restores; more would only make the storage seek. */
const DISKS_AT_ONCE = 2;
/** How many settled job ids are remembered, so that a delayed start request does not revive such a job. */
const SETTLED_REMEMBERED = 10_000;

/** All VM restores of this node: starts them, resumes them after restarts, and settles them. */
@Injectable()
export class VmRestores implements OnModuleInit, OnApplicationShutdown {
  private readonly logger = loggerFor('VmRestores');
  private readonly jobs = new Map<string, VmRestore>();
  private readonly settled = new Set<string>();
  private readonly lock = new KeyedMutex();
  private readonly dependencies: VmRestoreDependencies;

  constructor(
    private readonly config: NodeConfig,
    domains: LibvirtDomains,
    private readonly journal: VmRestoreJournal,
    supervisor: ProcessSupervisor,
    nbdInfo: NbdInfo,
    guestDisks: GuestDisks,
    active: ActiveJobs,
  ) {
    active.add(() => [...this.jobs.values()].filter((job) => !job.finished).length);
    this.dependencies = {
      domains,
      journal,
      supervisor,
      nbdInfo,
      guestDisks,
      slots: pLimit(DISKS_AT_ONCE),
      storageRoots: () => config.vmStorageRoots,
      tunnelDirectory: config.tunnelDirectory,
      patienceSeconds: config.besideHub ? 0 : config.networkPatienceSeconds,
    };
  }

  async onModuleInit(): Promise<void> {
    const { records, broken } = await this.journal.load();
    for (const jobId of broken) {
      this.logger.error('a VM restore with an unreadable journal is abandoned', { job_id: jobId });
      for (const directory of await this.journal.programDirectories(jobId)) await this.dependencies.supervisor.stop(directory, 0);
      await this.dependencies.guestDisks.close(jobId);
      await this.journal.remove(jobId);
    }
    for (const record of records) {
      const job = new VmRestore(record, this.dependencies);
      this.jobs.set(record.request.job_id, job);
      if (!job.finished) this.logger.info('resuming a VM restore after a restart of this node', { job_id: record.request.job_id });
      void job.run();
      job.resumeGuest();
    }
  }

  /** Copies keep running; the next start of the node resumes them. */
  onApplicationShutdown(): void {
    for (const job of this.jobs.values()) job.detach();
  }

  /**
   * Starts a job, or returns its state if it was already started. Obstacles appear in its report.
   * @throws DomainError job_exists (with another body), job_settled, storage_path_malformed, export_key_missing, hub_guests_refused
   */
  async start(request: NodeStartVmRestore): Promise<NodeVmRestoreReport> {
    const path = request.storage_path;
    if (path !== null && (!isAbsolute(path) || normalize(path) !== path)) {
      throw new DomainError('invalid', 'storage_path_malformed', `The storage path "${path}" must be absolute and must not contain "." or "..".`, {
        storage_path: path,
      });
    }
    requireExportKeys(request.disks);
    const keys = request.disks.map(({ export_key }) => export_key ?? null);
    const kept = { ...request, disks: withoutKeys(request.disks) };
    const job = await this.lock.runExclusive(request.job_id, async () => {
      const known = this.jobs.get(request.job_id);
      if (known !== undefined) {
        if (canonicalJson(known.request) === canonicalJson(kept)) return known;
        throw new DomainError('conflict', 'job_exists', `Job ${request.job_id} was already started with a different body.`, { job_id: request.job_id });
      }
      if (this.settled.has(request.job_id)) {
        throw new DomainError('conflict', 'job_settled', `Job ${request.job_id} has been settled and cannot be started again.`, { job_id: request.job_id });
      }
      requireHubGuests(this.config);
      const made = new VmRestore(newVmRestore(kept), this.dependencies);
      await this.journal.writeKeys(request.job_id, keys);
      await made.create();
      this.jobs.set(request.job_id, made);
      void made.run();
      return made;
    });
    return job.report();
  }

  /** @throws DomainError job_not_found */
  async report(jobId: string): Promise<NodeVmRestoreReport> {
    return this.get(jobId).report();
  }

  /** See NodeSettleVmRestore. @throws DomainError job_running */
  async settle(jobId: string, { outcome }: NodeSettleVmRestore): Promise<void> {
    await this.lock.runExclusive(jobId, async () => {
      const job = this.jobs.get(jobId);
      if (job !== undefined) {
        if (outcome === 'discard') await job.discard();
        else if (!job.finished) throw new DomainError('conflict', 'job_running', `Job ${jobId} is still running: it can only be discarded.`, { job_id: jobId });
        else await job.keep();
      }
      await this.journal.remove(jobId);
      this.jobs.delete(jobId);
      this.settled.add(jobId);
      const oldest = this.settled.values().next();
      if (this.settled.size > SETTLED_REMEMBERED && oldest.done !== true) this.settled.delete(oldest.value);
    });
  }

  private get(jobId: string): VmRestore {
    const job = this.jobs.get(jobId);
    if (job === undefined) throw new DomainError('not_found', 'job_not_found', `This node has no VM restore ${jobId}.`, { job_id: jobId });
    return job;
  }
}
