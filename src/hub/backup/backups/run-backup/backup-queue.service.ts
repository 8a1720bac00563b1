import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { poolPorts } from '../../../exports/nbd-ports/model/pool-ports.reader.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { HubConfig } from '../../../hub.config.js';
import type { WaitingFor } from '../model/backup.events.js';
import type { KnownBackup } from '../model/backup.state.js';
import { type ActiveBackup, decideAdmissions, type PortShortage, type QueuedBackup } from './admit-backups.decide.js';
import type { PortsShortError } from './prepare-run.step.js';
import { RunRecorder } from './record-run.recorder.js';

/** Interval of retries for ports, in milliseconds: other programs release ports without notice. */
const PORT_RETRY_MS = 5_000;

/** Holds the backups that wait, in the order of their requests, and admits those that may start. It knows only what the backups' states tell again. */
@Injectable()
export class BackupQueue {
  private readonly log = loggerFor('BackupQueue');
  /** In the order of the requests. */
  private readonly queue = new Map<string, QueuedBackup>();
  /** By backup, its place in that order. */
  private readonly places = new Map<string, number>();
  private readonly active = new Map<string, ActiveBackup>();
  private readonly admitted = new Set<string>();
  /** By queued backup, the recorded reason why it waits: of thousands of backups, most wait for the same as before. */
  private readonly reasons = new Map<string, WaitingFor>();
  private nextPlace = 0;
  /** By backup, with the performance.now() at which too few ports were free; null while ports are not short. */
  private shortages: Map<string, PortShortage & { readonly sinceMs: number }> | null = null;
  /** The settings under which backups were last admitted. */
  private limits = '';
  /** null: nothing is admitted. */
  private start: ((backupId: string) => void) | null = null;

  constructor(
    private readonly config: HubConfig,
    private readonly recorder: RunRecorder,
    private readonly dataSource: DataSource,
  ) {}

  /** Admits backups from now on. @param start called for each; its backup is then admitted */
  open(start: (backupId: string) => void): void {
    this.start = start;
    this.admit();
  }

  close(): void {
    this.start = null;
  }

  isAdmitted(backupId: string): boolean {
    return this.admitted.has(backupId);
  }

  /** Takes note of a backup that has not finished. One that is already queued or admitted keeps its place. */
  observe(state: KnownBackup): void {
    const { backup_id, vm_id } = state.run.request;
    if (state.status === 'pending') {
      if (this.admitted.has(backup_id) || this.queue.has(backup_id)) return;
      if (state.waiting_for !== null) this.reasons.set(backup_id, state.waiting_for);
      this.enqueue({ backup_id, vm_id });
    } else {
      this.leave(backup_id);
      this.active.set(backup_id, { backup_id, vm_id, counts: state.status === 'running' });
    }
    this.admit();
  }

  /** Forgets a backup that has finished. */
  release(backupId: string): void {
    this.leave(backupId);
    this.places.delete(backupId);
    this.active.delete(backupId);
    this.admit();
  }

  /** Returns an admitted backup to its place until enough ports are free. */
  async putBack({ backup_id, vm_id }: QueuedBackup, { wanted, free }: PortsShortError): Promise<void> {
    const missing = wanted - free;
    const missing_without_backups = missing - (await this.portsOfOtherBackups(backup_id));
    this.shortages ??= new Map();
    this.shortages.set(backup_id, { missing, missing_without_backups, sinceMs: performance.now() });
    this.admitted.delete(backup_id);
    this.active.delete(backup_id);
    this.enqueue({ backup_id, vm_id });
    this.admit();
  }

  portReleased(): void {
    this.lessenShortages((shortage) => shortage.missing - 1);
  }

  /** To be called about once a second: retries for ports, and applies reloaded settings. */
  tick(): void {
    const now = performance.now();
    this.lessenShortages(({ missing, sinceMs }) => (now - sinceMs > PORT_RETRY_MS ? 0 : missing));
    const { maxConcurrentBackups, nbdPortFirst, nbdPortCount } = this.config;
    const limits = JSON.stringify([maxConcurrentBackups, nbdPortFirst, nbdPortCount]);
    if (limits === this.limits) return;
    this.limits = limits;
    this.lessenShortages(() => 0);
    this.admit();
  }

  /** Starts the backups that may start, and records why the others wait. */
  private admit(): void {
    if (this.start === null) return;
    if (this.queue.size === 0 && this.admitted.size === 0) this.shortages = null;
    const queue = [...this.queue.values()];
    const limit = this.config.maxConcurrentBackups;
    for (const admission of decideAdmissions(queue, [...this.active.values()], limit, this.shortages, this.admitted.size > 0)) {
      const { backup_id } = admission;
      if (admission.start) {
        const queued = this.queue.get(backup_id);
        if (queued === undefined) continue;
        this.queue.delete(backup_id);
        this.admitted.add(backup_id);
        this.active.set(backup_id, { ...queued, counts: true });
        this.start(backup_id);
      } else if (this.reasons.get(backup_id) !== admission.waiting_for) {
        this.reasons.set(backup_id, admission.waiting_for);
        this.recorder.record(backup_id, { kind: 'record-queued', waiting_for: admission.waiting_for, detail: admission.detail }).catch((error: unknown) => {
          this.reasons.delete(backup_id);
          this.log.warn('could not record why a backup is waiting', { backup_id, error });
        });
      }
    }
  }

  /** Retries backups for which enough ports have become free. */
  private lessenShortages(missingNow: (shortage: PortShortage & { readonly sinceMs: number }) => number): void {
    if (this.shortages === null) return;
    let enough = false;
    for (const [backupId, shortage] of this.shortages) {
      if (shortage.missing <= 0) continue;
      const missing = missingNow(shortage);
      this.shortages.set(backupId, { ...shortage, missing });
      enough ||= missing <= 0;
    }
    if (enough) this.admit();
  }

  private async portsOfOtherBackups(backupId: string): Promise<number> {
    const { nbdPortFirst: first, nbdPortCount: count } = this.config;
    const ports = await poolPorts(this.dataSource, { first, count });
    return ports.filter(({ port, job_id }) => port >= first && port < first + count && job_id !== null && job_id !== backupId && this.active.has(job_id))
      .length;
  }

  /** Inserts the backup at the place of its request: one that was admitted but found no ports returns ahead of later requests. */
  private enqueue(backup: QueuedBackup): void {
    if (!this.places.has(backup.backup_id)) {
      this.places.set(backup.backup_id, this.nextPlace++);
      this.queue.set(backup.backup_id, backup);
      return;
    }
    const place = ({ backup_id }: QueuedBackup): number => this.places.get(backup_id) ?? Number.MAX_SAFE_INTEGER;
    const inOrder = [...this.queue.values(), backup].sort((one, other) => place(one) - place(other));
    this.queue.clear();
    for (const each of inOrder) this.queue.set(each.backup_id, each);
  }

  private leave(backupId: string): void {
    this.queue.delete(backupId);
    this.admitted.delete(backupId);
    this.reasons.delete(backupId);
    this.shortages?.delete(backupId);
  }
}
