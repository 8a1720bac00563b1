import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import type { Subscription } from 'rxjs';
import { DataSource } from 'typeorm';
import { VmRpoReadModel } from '../../../../../projections/vm-rpo/vm-rpo.read-model.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { KeyedMutex } from '../../../../lib/concurrency/keyed-mutex.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { nextChange, type RecordedBreach, removedStep, rpoStep } from '../model/protection.plan.js';
import { ProtectionReader } from '../model/protection.reader.js';
import type { RpoStep } from '../model/rpo.decide.js';
import { RpoRecorder } from '../model/rpo.recorder.js';

/** The longest sleep: a timer does not notice that the clock was set, or that the machine was suspended. */
const LONGEST_SLEEP_MS = 60_000;
const RETRY_MS = 5_000;
/** Events that come together are looked at together, and looks take at most a tenth of the time. */
const EVENTS_MS = 500;
const SHARE = 10;

/** What changes the newest restore point of a VM, or its promise. */
const CHANGES: ReadonlySet<string> = new Set([
  'PolicyCreated',
  'PolicyEdited',
  'PolicyDeleted',
  'VmRegistered',
  'VmLabelsSet',
  'VmRemoved',
  'BackupCompleted',
  'BackupDeleted',
  'RestorePointImported',
  'RestorePointDamaged',
]);

/** Records when an RPO is broken, and when the breach ends. All it knows is read from the read models, so a restart changes nothing. */
@Injectable()
export class WatchRpoService implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = loggerFor('WatchRpo');
  private readonly looks = new KeyedMutex();
  private events: Subscription | null = null;
  private timer: NodeJS.Timeout | undefined;
  /** Set while a look because of events is planned. */
  private soon: NodeJS.Timeout | null = null;
  /** null: without an event, nothing changes. */
  private nextLook: string | null = null;
  private lookMs = 0;
  private stopped = false;

  constructor(
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly protection: ProtectionReader,
    private readonly recorder: RpoRecorder,
    private readonly clock: Clock,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('policy', 'vm', 'backup', 'chain').subscribe(({ type }) => {
      if (CHANGES.has(type)) this.lookSoon();
    });
    void this.feed.ready.then(() => this.look());
  }

  async onModuleDestroy(): Promise<void> {
    this.stopped = true;
    this.events?.unsubscribe();
    clearTimeout(this.timer);
    if (this.soon !== null) clearTimeout(this.soon);
    await this.looks.runExclusive('look', () => Promise.resolve());
  }

  /** Records every breach that has begun or ended; resolves when that is done. Never rejects. */
  async look(): Promise<void> {
    await this.looks.runExclusive('look', async () => {
      if (this.stopped) return;
      clearTimeout(this.timer);
      const begun = performance.now();
      try {
        this.nextLook = await this.recordChanges();
        this.sleep();
      } catch (error) {
        this.log.warn('could not compare restore points with the RPO; trying again', { error });
        this.timer = setTimeout(() => void this.look(), RETRY_MS);
      }
      this.lookMs = performance.now() - begun;
    });
  }

  private lookSoon(): void {
    if (this.stopped || this.soon !== null) return;
    this.soon = setTimeout(
      () => {
        this.soon = null;
        void this.look();
      },
      Math.max(EVENTS_MS, SHARE * this.lookMs),
    );
  }

  private sleep(): void {
    if (this.stopped || this.nextLook === null) return;
    const ms = Date.parse(this.nextLook) - this.clock.now().getTime();
    if (ms <= 0) this.timer = setTimeout(() => void this.look(), 0);
    else this.timer = setTimeout(() => this.sleep(), Math.min(ms, LONGEST_SLEEP_MS));
  }

  /** @returns when to look again; null: after the next event */
  private async recordChanges(): Promise<string | null> {
    await this.readModels.current('vms', 'policies', 'backups', 'vm_rpo');
    const now = this.clock.iso();
    const { protections, policies } = await this.protection.look(now);
    const breaches = await this.underWay();
    for (const protection of protections) {
      const { vm_id } = protection.vm;
      const step = rpoStep(protection, breaches.get(vm_id) ?? null, now);
      breaches.delete(vm_id);
      if (step !== null && !this.stopped) await this.record(vm_id, protection.vm.name, step);
    }
    for (const vm_id of breaches.keys()) if (!this.stopped) await this.record(vm_id, null, removedStep(vm_id, now));
    return nextChange(protections, policies, now);
  }

  private async underWay(): Promise<Map<string, RecordedBreach>> {
    const rows = await this.dataSource.getRepository(VmRpoReadModel).findBy({ status: 'broken' });
    return new Map(rows.map(({ vm_id, backup_id, broken_at }) => [vm_id, { vm_id, backup_id, broken_at: broken_at.toISOString() }]));
  }

  private async record(vm_id: string, vm_name: string | null, step: RpoStep): Promise<void> {
    await this.recorder.record(vm_id, step);
    if (step.kind === 'break') {
      const { rpo_seconds, instant, broken_at, policy_id } = step.breach;
      const age = instant === null ? 'there is no good restore point' : `the newest good restore point is of ${instant}`;
      const message = `the RPO of VM "${vm_name ?? vm_id}" is broken: ${age}, and ${rpo_seconds} s are promised; look at the newest backups and runs of the VM`;
      this.log.warn(message, { vm_id, policy_id, broken_at });
    } else this.log.info('a breach of an RPO ended', { vm_id, vm_name, reason: step.end.reason, backup_id: step.end.backup_id });
  }
}
