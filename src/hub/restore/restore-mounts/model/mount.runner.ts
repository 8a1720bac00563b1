import { mkdir, realpath } from 'node:fs/promises';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { DataSource, In } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { recordedAt, repositoryOf, sourcesOf } from '../../../backup/backups/model/restore-points.reader.js';
import { RestoreMountReadModel } from '../../../../../projections/restore-mounts/restore-mounts.read-model.js';
import { ACTIVE_MOUNTS } from './active-mounts.reader.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { unknownVariant } from '../../../../kernel/decider.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { messageOf } from '../../../../kernel/error-message.js';
import { Clock, derivedId, Ids } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { type CommandOutcome, CommandRunner } from '../../../store/event-store/command-runner.js';
import type { Position } from '../../../../kernel/position.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import { KeyedMutex } from '../../../../lib/concurrency/keyed-mutex.js';
import { foldersIn } from '../../../../lib/files/if-there.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { MountBrowser } from '../../mounts/mount-browser.js';
import { MountError } from '../../mounts/mount-driver.port.js';
import { MountDrivers } from '../../mounts/mount-drivers.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import type { ImageChain } from '../../../../lib/qemu/image-chain.plan.js';
import { ChainGuard, REQUEST_PATIENCE_MS } from '../../../repositories/repository-storage/chain-guard.js';
import { mountDirectory, mountsDirectory } from './mount-directories.plan.js';
import type { MountAccess, MountOutcome, SweepReport } from './restore-mount.commands.js';
import { type RestoreMountEvent, type MountRequested, restoreMountStream, type UnmountReason } from './restore-mount.events.js';
import { mayHold, restoreMountDecider, type RestoreMountState } from './restore-mount.state.js';
import { accessRefusal, expired, mountFailure } from './mount-refusal.plan.js';
import { decideRecordMount, type RecordMount } from './record-mount.decide.js';

const decider = restoreMountDecider(decideRecordMount);

/** Minimum interval between recorded accesses; in between, the deadline is kept in memory. */
const ACCESS_RECORD_MS = 60_000;
const MOUNT_ID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/;

/** Who uses a mount, and with which request. */
type Origin = Omit<CommandContext, 'commandId'>;

/** The mount is unmounted while mounting is in progress. */
class MountAbandoned extends Error {
  override readonly name = 'MountAbandoned';
}

/** The hub stops while mounting is in progress; the next start removes any partial mount. */
class HubStops extends Error {
  override readonly name = 'HubStops';
}

/**
 * Runs mounts: compares the recorded state with the machine and continues from there. Operations on one mount are serialized. The end of a mount is recorded
 * only after nothing of it is left.
 */
@Injectable()
export class MountRunner implements OnApplicationShutdown {
  private readonly log = loggerFor('MountRunner');
  private readonly perMount = new KeyedMutex();
  private readonly starting = new Map<string, AbortController>();
  private readonly shutdown = new AbortController();
  /** Last use of each mount, in milliseconds since 1970: fresher than the recorded one. */
  private readonly lastUse = new Map<string, number>();
  /** Requested mounts that were not being brought up during the last cleanup: their request may be about to start, or has failed. */
  private waiting: ReadonlySet<string> = new Set();
  /** Newest event when this hub started; head is null if there was none. */
  private begun: { readonly head: Position | null } | null = null;

  constructor(
    private readonly runner: CommandRunner,
    private readonly drivers: MountDrivers,
    private readonly browser: MountBrowser,
    private readonly store: EventStore,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly guard: ChainGuard,
    private readonly config: HubConfig,
    private readonly clock: Clock,
    private readonly ids: Ids,
  ) {}

  onApplicationShutdown(): void {
    this.shutdown.abort(new HubStops('the hub is shutting down'));
  }

  /** @throws DomainError */
  async bringUp(mountId: string, context: CommandContext): Promise<MountOutcome> {
    return this.perMount.runExclusive(mountId, async () => {
      const loaded = await this.runner.load(restoreMountStream(mountId), decider);
      const { state, position } = loaded.state.status === 'requested' ? await this.mount(mountId, loaded.state.request, context) : loaded;
      if (state.status === 'failed') throw mountFailure(mountId, state.failure);
      const refusal = accessRefusal(mountId, state);
      if (refusal !== null || state.status !== 'ready') throw refusal ?? new Error(`mount ${mountId} is ${state.status}`);
      return { request: state.request, mount: state.mount, expires_at: state.expires_at, position };
    });
  }

  /** @throws DomainError mount_not_found, mount_not_removed */
  async release(mountId: string, reason: UnmountReason, detail: string | null, context: CommandContext): Promise<string | null> {
    this.starting.get(mountId)?.abort(new MountAbandoned('it was unmounted before it was ready'));
    return this.perMount.runExclusive(mountId, async () => {
      const { state, position } = await this.runner.load(restoreMountStream(mountId), decider);
      if (state.status === 'none') throw accessRefusal(mountId, state) ?? new Error('unreachable');
      if (!mayHold(state)) return position;
      if (state.status !== 'unmounting') {
        await this.record(mountId, { kind: 'unmount_requested', data: { reason, detail, requested_at: this.clock.iso() } }, context);
      }
      return this.takeDown(mountId, context);
    });
  }

  /** @throws DomainError */
  async access(mountId: string, reader: Origin): Promise<MountAccess> {
    const { state } = await this.runner.load(restoreMountStream(mountId), decider);
    const refusal = accessRefusal(mountId, state);
    if (refusal !== null || state.status !== 'ready') throw refusal ?? new Error(`mount ${mountId} is ${state.status}`);
    if (this.isExpired(mountId, state)) throw expired(mountId);
    const now = this.clock.now();
    this.lastUse.set(mountId, now.getTime());
    const idleMs = state.request.idle_limit_seconds * 1000;
    if (now.getTime() - Date.parse(state.accessed_at) >= Math.min(ACCESS_RECORD_MS, idleMs / 10)) {
      const data = { accessed_at: now.toISOString(), expires_at: new Date(now.getTime() + idleMs).toISOString() };
      await this.record(mountId, { kind: 'accessed', data }, this.contextOf(reader));
    }
    const { backup_id, vm_name, disk_index } = state.request;
    return { mount_path: state.mount.mount_path, backup_id, vm_name, disk_index };
  }

  async reportAbandoned(mountId: string, operation: string, detail: string, reader: Origin): Promise<void> {
    this.log.warn('a mounted file system did not answer, the call was abandoned', { mount_id: mountId, operation, detail });
    const abandoned_at = this.clock.iso();
    await this.record(mountId, { kind: 'abandoned', data: { operation, detail, abandoned_at } }, this.contextOf(reader));
  }

  /** Removes expired, broken and orphaned mounts. */
  async sweep(): Promise<SweepReport> {
    const ids = await this.known();
    let expiredCount = 0;
    let broken = 0;
    let orphans = 0;
    let checked = 0;
    const failures: string[] = [];
    const waiting = new Set<string>();
    await Promise.all(
      ids.map(async (mountId) => {
        try {
          const done = await this.reconcile(mountId, () => this.waiting.has(mountId));
          if (done === 'coming_about') waiting.add(mountId);
          if (done !== 'orphan_removed') checked += 1;
          if (done === 'expired') expiredCount += 1;
          else if (done === 'broken' || done === 'taken_down') broken += 1;
          else if (done === 'orphan_removed') orphans += 1;
          if (done !== 'stands' && done !== 'coming_about') this.log.info('mount removed', { mount_id: mountId, done });
        } catch (error) {
          failures.push(`${mountId}: ${messageOf(error)}`);
        }
      }),
    );
    this.waiting = waiting;
    return { mounts_checked: checked, expired: expiredCount, broken, orphans, failures };
  }

  /** Reconciles every mount left by an earlier run, at the start of the hub. */
  async adopt(): Promise<void> {
    // Mounts requested from now on belong to this hub, even while it still reconciles those of earlier runs.
    this.begun ??= { head: await this.store.head() };
    const { head } = this.begun;
    const ids = await this.known();
    const failures: unknown[] = [];
    for (const mountId of ids) {
      try {
        const done = await this.reconcile(mountId, (position) => head !== null && position !== null && position <= head);
        this.log.info('mount of an earlier run reconciled', { mount_id: mountId, done });
      } catch (error) {
        // The cleanup retries a mount that cannot be removed yet; the others do not wait for it.
        if (error instanceof DomainError && error.code === 'mount_not_removed')
          this.log.warn('a mount could not be removed yet, the cleanup retries', { mount_id: mountId, error });
        else failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** @param isCutOff whether a requested mount that is not being brought up will never be, given the position of its newest event */
  private async reconcile(
    mountId: string,
    isCutOff: (position: Position | null) => boolean,
  ): Promise<'stands' | 'coming_about' | 'expired' | 'broken' | 'taken_down' | 'orphan_removed'> {
    if (this.starting.has(mountId)) return 'coming_about';
    const { state, position } = await this.runner.load(restoreMountStream(mountId), decider);
    switch (state.status) {
      case 'requested':
        if (!isCutOff(position)) return 'coming_about';
        return this.perMount.runExclusive(mountId, async () => {
          // bringUp() holds the same lock and may have been faster.
          const { state: now } = await this.runner.load(restoreMountStream(mountId), decider);
          if (now.status !== 'requested') return 'stands';
          await this.fail(mountId, new MountError('mount_interrupted', 'mounting was interrupted'), await this.ownContext(mountId));
          return 'taken_down';
        });
      case 'ready': {
        if (this.isExpired(mountId, state)) {
          await this.release(mountId, 'expired', null, await this.ownContext(mountId));
          return 'expired';
        }
        if (await this.drivers.stands(await this.directory(mountId))) return 'stands';
        await this.release(mountId, 'hub_cleanup', 'its processes or its mount were gone', await this.ownContext(mountId));
        return 'broken';
      }
      case 'unmounting':
        await this.release(mountId, state.reason, null, await this.ownContext(mountId));
        return 'taken_down';
      case 'none':
      case 'failed':
      case 'released':
        await this.perMount.runExclusive(mountId, async () => {
          await this.clear(mountId);
        });
        return 'orphan_removed';
      default:
        return unknownVariant('reconcile a mount', state);
    }
  }

  private async mount(mountId: string, request: MountRequested['data'], context: CommandContext) {
    const abandon = new AbortController();
    this.starting.set(mountId, abandon);
    const deadline = AbortSignal.timeout(this.config.mountTimeoutSeconds * 1000);
    try {
      const directory = await this.directory(mountId);
      const signal = AbortSignal.any([abandon.signal, this.shutdown.signal, deadline]);
      const mounted = await this.drivers.mount({ directory, chain: await this.chainOf(request, signal), partition: request.partition }, signal);
      const now = this.clock.now();
      const { driver, device, mountPath, filesystemType, partition, partitions, resources } = mounted;
      return await this.record(
        mountId,
        {
          kind: 'ready',
          data: {
            driver,
            device,
            mount_path: mountPath,
            filesystem_type: filesystemType,
            partition,
            partitions,
            resources,
            ready_at: now.toISOString(),
            expires_at: new Date(now.getTime() + request.idle_limit_seconds * 1000).toISOString(),
          },
        },
        context,
      );
    } catch (error) {
      if (error instanceof HubStops)
        throw new DomainError('unavailable', 'mount_interrupted', 'The hub is shutting down. Mount the disk again after its restart.');
      if (error instanceof MountAbandoned) return await this.fail(mountId, new MountError('mount_failed', error.message), context);
      const reason =
        error instanceof MountError
          ? error
          : deadline.aborted
            ? new MountError('mount_timed_out', `the mount was not ready after ${this.config.mountTimeoutSeconds} seconds`)
            : null;
      if (reason === null) throw error;
      return await this.fail(mountId, reason, context);
    } finally {
      this.starting.delete(mountId);
    }
  }

  /** Checks the files right before they are opened. @throws MountError restore_point_unreadable, or why they cannot be checked now; the signal's reason */
  private async chainOf(request: MountRequested['data'], signal: AbortSignal): Promise<ImageChain> {
    const found = await this.dataSource.getRepository(BackupReadModel).findOneByOrFail({ backup_id: request.backup_id });
    const backup = await recordedAt(this.dataSource, found, request.repository_id);
    const { path } = await repositoryOf(this.dataSource, backup);
    const sources = (await sourcesOf(this.dataSource, backup))(request.disk_index);
    try {
      return await this.guard.open(path, sources, { allowDamaged: request.allow_damaged === true, patienceMs: REQUEST_PATIENCE_MS, signal });
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      const passing = error.code === 'repository_unavailable' || error.code === 'restore_point_being_checked' ? error.code : null;
      // The detail of a failed mount is part of a sentence.
      throw new MountError(passing ?? 'restore_point_unreadable', error.message.replace(/\.$/, ''));
    }
  }

  /** Removes the remains of a failed mount and records the failure. */
  private async fail(
    mountId: string,
    { code, message, partitions }: MountError,
    context: CommandContext,
  ): Promise<CommandOutcome<RestoreMountState, RestoreMountEvent>> {
    if (code === 'mount_timed_out') await this.reportAbandoned(mountId, 'mount', message, context);
    const { leftovers } = await this.clear(mountId);
    return this.record(mountId, { kind: 'failed', data: { code, detail: message, partitions, leftovers, failed_at: this.clock.iso() } }, context);
  }

  private async takeDown(mountId: string, context: CommandContext): Promise<string | null> {
    const { forced, leftovers } = await this.clear(mountId);
    if (leftovers.length > 0) {
      // It stays `unmounting`, and the cleanup keeps retrying.
      throw new DomainError(
        'conflict',
        'mount_not_removed',
        `Mount ${mountId} could not be removed yet: ${leftovers.join('; ')}. The cleanup keeps retrying.`,
        {
          mount_id: mountId,
          leftovers,
        },
      );
    }
    const released = await this.record(mountId, { kind: 'released', data: { forced, leftovers, released_at: this.clock.iso() } }, context);
    this.lastUse.delete(mountId);
    return released.position;
  }

  private async clear(mountId: string): Promise<{ readonly forced: boolean; readonly leftovers: readonly string[] }> {
    const directory = await this.directory(mountId);
    await this.browser.close(`${directory}/fs`);
    return this.drivers.release(directory);
  }

  private isExpired(mountId: string, state: Extract<RestoreMountState, { status: 'ready' }>): boolean {
    const idleMs = state.request.idle_limit_seconds * 1000;
    const used = Math.max(this.lastUse.get(mountId) ?? 0, Date.parse(state.expires_at) - idleMs);
    return this.clock.now().getTime() > used + idleMs && this.browser.streamsFrom(state.mount.mount_path) === 0;
  }

  /** Mounts that may exist according to the events, and those with a directory: either may be the only trace of a mount. */
  private async known(): Promise<readonly string[]> {
    await this.readModels.current('restore_mounts');
    const rows = await this.dataSource.getRepository(RestoreMountReadModel).find({ select: { mount_id: true }, where: { status: In([...ACTIVE_MOUNTS]) } });
    const folders = (await foldersIn(mountsDirectory(this.config.runDirectory))).filter((name) => MOUNT_ID.test(name));
    return [...new Set([...rows.map((row) => row.mount_id), ...folders])];
  }

  /** A real path, without symbolic links: the kernel lists mounts by their real paths. */
  private async directory(mountId: string): Promise<string> {
    await mkdir(mountsDirectory(this.config.runDirectory), { recursive: true, mode: 0o700 });
    return mountDirectory(await realpath(this.config.runDirectory), mountId);
  }

  private record(mountId: string, command: RecordMount, context: CommandContext): Promise<CommandOutcome<RestoreMountState, RestoreMountEvent>> {
    // Facts that can repeat get a new command id each time; the others happen once per mount.
    const once = command.kind !== 'accessed' && command.kind !== 'abandoned';
    return this.runner.run(
      restoreMountStream(mountId),
      decider,
      command,
      once ? { ...context, commandId: derivedId(`restore-mount/${mountId}/${command.kind}`) } : context,
    );
  }

  /** A use of the mount is a command of its reader. */
  private contextOf({ actor, correlationId }: Origin): CommandContext {
    return { commandId: this.ids.next(), correlationId, actor };
  }

  /** Observations of the hub itself carry the correlation id of the request. */
  private async ownContext(mountId: string): Promise<CommandContext> {
    const commandId = derivedId(`restore-mount/${mountId}/observed`);
    let correlationId = commandId;
    for await (const first of this.store.read(restoreMountStream(mountId), { limit: 1 })) correlationId = first.metadata.$correlationId;
    return { commandId, correlationId, actor: 'system:restore-mounts' };
  }
}
