import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { DomainError } from '../../../kernel/domain-error.js';
import type { Clock } from '../../../lib/clock/clock.js';
import { LibvirtError } from '../../libvirt/libvirt-error.js';
import type { Virsh } from '../../libvirt/virsh.js';
import { KeyedMutex } from '../../../lib/concurrency/keyed-mutex.js';
import { loggerFor } from '../../../lib/logging/logger.js';
import type { NbdInfo } from '../../../lib/nbd/nbd-info.js';
import { nbdUri } from '../../../lib/nbd/nbd-uri.js';
import type { NodeQuiesceOutcome } from '../../../contract/backup-job.js';
import { mergeExtents } from '../../model/extents.plan.js';
import type { SnapshotDisk } from '../../model/job.state.js';
import { allOrFirstError, asFailure, failure } from '../image-servers.js';
import type { SnapshotRequest, SweepReport, TakenSnapshot } from '../source.port.js';
import { backupXml, checkpointXml, scratchFile } from './backup-documents.js';
import type { InspectedDomain } from './inspect-domain.js';
import { makeScratch, makeScratchFile, removeScratch, reserveIsTouched, scratchBound, scratchUse } from './scratch-space.js';
import { mayBeFrozen, noteFreeze, noteScratchFull, noteThaw, scratchFullDetail, type SnapshotRecord, socketOf, writeRecord } from './snapshot-record.js';

const WATCH_MS = 100;
/** A job usually ends within milliseconds of the request; the pauses between polls grow up to the other figure. */
const ABORT_FIRST_POLL_MS = 5;
const ABORT_POLL_MS = 100;
const ABORT_PATIENCE_MS = 30_000;
/** The path of a Unix socket has at most 108 bytes, including its closing NUL. */
const MAX_SOCKET_PATH = 107;

export interface LiveSettings {
  readonly scratchDirectory: string;
  readonly scratchMaxBytes: () => number;
}

/** Running domains: libvirt's pull backup fixes all disks at one instant and serves them while the guest keeps running. */
export class LiveSnapshots {
  private readonly logger = loggerFor('LiveSnapshots');
  /** By uuid: serialises the start of a backup and the end of one without an owner. */
  private readonly domains = new KeyedMutex();
  /** Descriptions of removed resources without an owner, until they are reported. */
  private readonly removed: string[] = [];
  /** By snapshot directory: ends the watch over its scratch space. */
  private readonly watches = new Map<string, { readonly ended: AbortController; readonly record: SnapshotRecord }>();

  constructor(
    private readonly virsh: Virsh,
    private readonly nbdInfo: NbdInfo,
    private readonly clock: Clock,
    private readonly settings: LiveSettings,
  ) {}

  /** The caller has checked the domain and its disks. @throws DomainError snapshot_failed, scratch_full, quiesce_failed, change_id_lost, vm_busy_elsewhere */
  async take(request: SnapshotRequest, domain: InspectedDomain): Promise<TakenSnapshot> {
    return this.domains.runExclusive(domain.uuid, () => this.takeAlone(request, domain));
  }

  private async takeAlone(request: SnapshotRequest, domain: InspectedDomain): Promise<TakenSnapshot> {
    const { uuid, targets } = domain;
    const socket = socketOf(join(this.settings.scratchDirectory, nameOf(request.directory)));
    const checkpoints = (await this.endOwnJob(domain, socket)) ? await this.virsh.checkpoints(uuid) : domain.checkpoints;
    const scratch = await makeScratch(this.settings.scratchDirectory, nameOf(request.directory));
    if (Buffer.byteLength(socket) > MAX_SOCKET_PATH) {
      throw new DomainError('invalid', 'snapshot_failed', `The path ${socket} is too long for a socket. Choose a shorter libvirt_scratch_directory.`);
    }
    const bound = await scratchBound(scratch, this.settings.scratchMaxBytes(), await this.promised());
    const record: SnapshotRecord = { mode: 'live', uuid, scratch, scratchBoundBytes: bound };
    await writeRecord(request.directory, record);
    // Left by an earlier attempt of the same job; a new instant gets a new one.
    if (checkpoints.includes(request.changeId)) await this.virsh.deleteCheckpoint(uuid, request.changeId, { metadataOnly: false });

    const tracked = domain.disks.filter((disk) => disk.tracking).map((disk) => disk.target);
    const backup = backupXml({
      socket,
      scratchDirectory: scratch,
      targets,
      disks: request.disks.map((disk) => ({ target: disk.diskKey, incrementalFrom: disk.parentChangeId })),
    });
    await allOrFirstError(
      request.disks.map(async (disk) => {
        try {
          await makeScratchFile(scratch, scratchFile(disk.diskKey), disk.sizeBytes);
        } catch (error) {
          throw asFailure(error, disk.diskKey, 'snapshot_failed');
        }
      }),
    );
    const checkpoint = tracked.length === 0 ? null : checkpointXml({ name: request.changeId, targets, tracked });
    const { instant, quiesce } = await this.beginQuiesced(request, domain, () => this.begin(uuid, backup, checkpoint));
    this.watch(request.directory, record);
    if (checkpoint !== null) this.virsh.expectCheckpoint(uuid, request.changeId);

    const opened = await allOrFirstError(
      request.disks.map(async (disk) => {
        const uri = nbdUri({ socket }, disk.diskKey);
        try {
          const extents =
            disk.parentChangeId === null ? await this.nbdInfo.allocatedExtents(uri) : await this.nbdInfo.dirtyExtents(uri, `backup-${disk.diskKey}`);
          return { uri, disk, extents: mergeExtents(extents) };
        } catch (error) {
          throw asFailure(error, disk.diskKey, 'snapshot_failed');
        }
      }),
    );
    const disks = opened.map(({ uri, disk }): SnapshotDisk => {
      return {
        disk_key: disk.diskKey,
        uri,
        size_bytes: disk.sizeBytes,
        change_id: tracked.includes(disk.diskKey) ? request.changeId : null,
        opened: null,
        witness: '',
      };
    });
    return {
      standing: { instant, disks, ...(quiesce === null ? {} : { quiesce }) },
      extents: new Map(opened.map(({ disk, extents }) => [disk.diskKey, extents])),
    };
  }

  /** @throws DomainError snapshot_lost, scratch_full */
  async confirm(directory: string, record: SnapshotRecord): Promise<void> {
    const { scratch, uuid } = record;
    const full = await scratchFullDetail(directory);
    if (full !== null) throw new DomainError('storage_full', 'scratch_full', full);
    // libvirtd may be down while its guests and their servers keep running.
    if (scratch === null || !(await accepts(socketOf(scratch)))) {
      const state = await this.virsh.state(uuid).catch(() => 'other' as const);
      const why = state === 'running' || state === 'paused' ? 'another program ended its backup job, or qemu was restarted' : 'it was shut off or crashed';
      throw new DomainError('conflict', 'snapshot_lost', `The VM no longer serves its disks as of the instant: ${why}.`);
    }
    this.watch(directory, record);
  }

  /**
   * Thaws the guest, ends the backup job if it is ours, and removes the scratch files. @throws LibvirtError if libvirt is unreachable, since its state is then
   * unknown
   */
  async release(directory: string, record: SnapshotRecord): Promise<void> {
    this.watches.get(directory)?.ended.abort();
    this.watches.delete(directory);
    await this.thawIfFrozen(directory, record.uuid);
    if (record.scratch === null) return;
    await this.endJob(record.uuid, socketOf(record.scratch));
    await removeScratch(record.scratch);
  }

  /**
   * A libvirt backup job is ours if its server is in our scratch directory. A job that no living snapshot owns is ended: its node was killed, or libvirtd was,
   * before it had recorded that the job had ended.
   */
  async sweep(living: () => readonly string[]): Promise<SweepReport> {
    const jobs = await this.virsh.backupJobs();
    for (const [uuid, { socket }] of jobs) {
      const place = socket === null ? null : this.placeOf(socket);
      if (socket === null || place === null || living().map(nameOf).includes(place)) continue;
      await this.domains.runExclusive(uuid, () => this.endOrphan(uuid, socket, place, living));
    }
    for (const place of (await readdir(this.settings.scratchDirectory).catch(() => [])).filter((name) => PLACE_NAME.test(name))) {
      const path = join(this.settings.scratchDirectory, place);
      // qemu may still write to the files of a job that could not be ended.
      if (living().map(nameOf).includes(place) || (await accepts(socketOf(path)))) continue;
      await removeScratch(path);
      this.removed.push(`the scratch files in ${path}`);
    }
    const problems = [...jobs]
      .filter(([, { lost }]) => lost)
      .map(([uuid]) => ({ source: 'libvirt' as const, source_ref: uuid, code: LOST_JOB, detail: lostJob(uuid) }));
    return { removed: this.removed.splice(0), problems };
  }

  /** Checks again, now that no snapshot of the domain can begin. */
  private async endOrphan(uuid: string, socket: string, place: string, living: () => readonly string[]): Promise<void> {
    if ((await this.virsh.backupJob(uuid)).socket !== socket || living().map(nameOf).includes(place)) return;
    await this.endJob(uuid, socket);
    this.noteOrphan(uuid, socket);
  }

  private noteOrphan(uuid: string, socket: string): void {
    this.logger.warn('a backup job of this node without an owner was ended', { uuid, socket });
    this.removed.push(`the backup job of domain ${uuid} with its server at ${socket}`);
  }

  /** Name of the scratch place that contains a socket; null: it is not one of this node's. */
  private placeOf(socket: string): string | null {
    const place = basename(dirname(socket));
    return PLACE_NAME.test(place) && socket === socketOf(join(this.settings.scratchDirectory, place)) ? place : null;
  }

  /**
   * Ends a leftover job: one that a killed node had just requested may have begun after the next node searched, and a libvirtd that was killed may list one
   * that had already ended. A domain has one backup of this node at a time, so no living snapshot owns it.
   * @returns whether there was one @throws DomainError vm_busy_elsewhere if another program's job is running; backup_job_lost
   */
  private async endOwnJob({ uuid, backupJob }: InspectedDomain, own: string): Promise<boolean> {
    const { socket, lost } = backupJob;
    if (lost) throw new DomainError('conflict', LOST_JOB, lostJob(uuid), { source_ref: uuid });
    if (socket === null) return false;
    if (this.placeOf(socket) !== null) {
      await this.endJob(uuid, socket);
      if (socket !== own) this.noteOrphan(uuid, socket);
      return true;
    }
    throw new DomainError('conflict', 'vm_busy_elsewhere', `Another program is backing up this VM (its server is at ${socket}). Wait until it ends.`, {
      source_ref: uuid,
    });
  }

  private async begin(uuid: string, backup: string, checkpoint: string | null): Promise<void> {
    try {
      await this.virsh.beginBackup(uuid, backup, checkpoint);
    } catch (error) {
      if (!(error instanceof LibvirtError)) throw error;
      if (error.code === 'checkpoint_inconsistent') {
        const key = /for disk '([^']+)'/.exec(error.message)?.[1] ?? '';
        throw failure('conflict', 'change_id_lost', key, `libvirt cannot determine the changes since the last backup: ${error.message}`);
      }
      if (error.code === 'domain_not_running') throw new DomainError('conflict', 'snapshot_failed', 'The VM was shut off just before its backup began.');
      throw new DomainError('unavailable', 'snapshot_failed', `libvirt could not begin the backup: ${error.message}`);
    }
  }

  /** Keeps the guest's file systems frozen while libvirt fixes the instant. */
  private async beginQuiesced(
    request: SnapshotRequest,
    { uuid, hasAgentChannel }: InspectedDomain,
    begin: () => Promise<void>,
  ): Promise<{ readonly instant: string; readonly quiesce: NodeQuiesceOutcome | null }> {
    if (request.quiesce === 'none') {
      const instant = this.clock.iso();
      await begin();
      return { instant, quiesce: null };
    }
    if (!hasAgentChannel) {
      const refusal = 'the VM has no channel to a guest agent';
      if (request.quiesce === 'require') throw quiesceFailed(uuid, refusal);
      const instant = this.clock.iso();
      await begin();
      return { instant, quiesce: { outcome: 'not_quiesced', detail: `The guest's file systems were not frozen: ${refusal}.` } };
    }
    await noteFreeze(request.directory);
    const frozenAt = performance.now();
    let frozen: number | null = null;
    let refusal = '';
    try {
      frozen = await this.virsh.freeze(uuid);
    } catch (error) {
      if (!(error instanceof LibvirtError)) throw error;
      refusal = error.message;
    }
    try {
      if (frozen === null && request.quiesce === 'require') throw quiesceFailed(uuid, refusal);
      const instant = this.clock.iso();
      await begin();
      await this.thawIfFrozen(request.directory, uuid, frozen === null);
      const ms = Math.round(performance.now() - frozenAt);
      if (frozen === null) return { instant, quiesce: { outcome: 'not_quiesced', detail: `The guest's file systems were not frozen: ${refusal}` } };
      return {
        instant,
        quiesce: {
          outcome: 'quiesced',
          detail: `${frozen} file ${frozen === 1 ? 'system' : 'systems'} of the guest ${frozen === 1 ? 'was' : 'were'} frozen for ${ms} ms.`,
        },
      };
    } catch (error) {
      await this.thawIfFrozen(request.directory, uuid, frozen === null);
      throw error;
    }
  }

  /** refused: libvirt reported that the freeze failed. A freeze that timed out may still have happened, so a thaw is tried even then. */
  private async thawIfFrozen(directory: string, uuid: string, refused = false): Promise<void> {
    if (!(await mayBeFrozen(directory))) return;
    try {
      await this.virsh.thaw(uuid);
    } catch (error) {
      if (!(error instanceof LibvirtError)) throw error;
      // A guest that is off or gone is not frozen, and one without an agent never was. One whose agent exists but does not answer may be frozen.
      const noAgent = error.code === 'agent_unavailable' && /not (configured|connected)/.test(error.message);
      const harmless = error.code === 'domain_not_running' || error.code === 'domain_not_found' || noAgent || (refused && error.code !== 'libvirt_unreachable');
      if (!harmless) throw error;
    }
    await noteThaw(directory);
  }

  /** Ends the job that serves on our socket; done when libvirt has no such job left. */
  private async endJob(uuid: string, socket: string): Promise<void> {
    const deadline = performance.now() + ABORT_PATIENCE_MS;
    try {
      // The job that serves on our socket is ours. A job that no longer serves may not have ended yet.
      if (!(await accepts(socket)) && (await this.virsh.backupJob(uuid)).socket !== socket) return;
      let pauseMs = ABORT_FIRST_POLL_MS;
      for (let left = await this.virsh.abortJob(uuid); left === socket; left = (await this.virsh.backupJob(uuid)).socket) {
        if (performance.now() > deadline) throw new Error(`the backup job of domain ${uuid} did not end within ${ABORT_PATIENCE_MS} ms`);
        await goneWithin(socket, ABORT_POLL_MS);
        await pause(pauseMs);
        pauseMs = Math.min(pauseMs * 2, ABORT_POLL_MS);
      }
    } catch (error) {
      // The job ends with its qemu. A libvirt that has lost a qemu which is still running cannot end it.
      if (error instanceof LibvirtError && (error.code === 'domain_not_found' || error.code === 'domain_not_running')) return;
      // It may have ended by itself between the query and the request.
      if (error instanceof LibvirtError && error.code === 'libvirt_refused' && (await this.virsh.backupJob(uuid)).socket !== socket) return;
      throw error;
    }
  }

  /** Space that other backups may still take on the same file system. */
  private async promised(): Promise<number> {
    let bytes = 0;
    for (const { record } of this.watches.values()) {
      if (record.scratch !== null) bytes += Math.max(0, record.scratchBoundBytes - (await scratchUse(record.scratch)));
    }
    return bytes;
  }

  /**
   * A guest can fill the scratch space faster than any poll; qemu then pauses it at the write that found no space, which is held, not failed. Without the
   * backup job it needs no scratch space.
   */
  private async resumeIfStopped(uuid: string): Promise<void> {
    if (!(await this.virsh.isStoppedByIoError(uuid))) return;
    await this.virsh.resume(uuid);
    this.logger.warn('the guest was paused by full scratch space and is running again', { uuid });
  }

  private watch(directory: string, record: SnapshotRecord): void {
    if (this.watches.has(directory)) return;
    const ended = new AbortController();
    this.watches.set(directory, { ended, record });
    void this.watchScratch(directory, record, ended.signal);
  }

  /** A guest that overwrites much during its backup fills the scratch space; once that is full, its writes would fail. So the backup is abandoned first. */
  private async watchScratch(directory: string, record: SnapshotRecord, signal: AbortSignal): Promise<void> {
    const { scratch, scratchBoundBytes: bound, uuid } = record;
    const ended = (): boolean => signal.aborted;
    while (scratch !== null && !ended()) {
      try {
        const used = await scratchUse(scratch);
        const scarce = await reserveIsTouched(scratch);
        if (used > bound || scarce) {
          const why = used > bound ? `more than the limit of ${bound} bytes` : 'and the file system is nearly full';
          const detail = `The guest's writes since the backup began take ${used} bytes of scratch space in ${scratch}, ${why}. The backup was abandoned; the guest keeps running.`;
          if ((await scratchFullDetail(directory)) === null) await noteScratchFull(directory, detail);
          this.logger.warn('a backup has used up its scratch space and is abandoned', { uuid, used_bytes: used, bound_bytes: bound });
          await this.endJob(uuid, socketOf(scratch));
          await this.resumeIfStopped(uuid);
          return;
        }
      } catch (error) {
        if (!ended()) this.logger.warn('the scratch space of a backup cannot be watched; retrying', { uuid, error });
      }
      await pause(WATCH_MS, undefined, { ref: false });
    }
  }
}

function quiesceFailed(uuid: string, refusal: string): DomainError {
  return new DomainError('conflict', 'quiesce_failed', `The guest's file systems could not be frozen, as was required: ${refusal}`, { source_ref: uuid });
}

/** libvirt holds the domain for a backup job it has forgotten. */
const LOST_JOB = 'backup_job_lost';

function lostJob(uuid: string): string {
  return `libvirt was killed while a backup of this VM (domain ${uuid}) began, and holds the VM for a backup job that it can neither end nor replace. Shut the VM down, restart libvirtd while it is off, and start it again; other VMs keep running. No backup is possible until then.`;
}

const PLACE_NAME = /^[0-9a-f]{16}$/;

/** Short, because socket paths are limited; deterministic for a snapshot. */
function nameOf(directory: string): string {
  return createHash('sha256').update(directory).digest('hex').slice(0, 16);
}

/**
 * qemu removes its socket when it ends its server. Do not connect to find out: a server that ends during a connection attempt has crashed whole qemus
 * (CVE-2024-7409).
 */
async function goneWithin(socket: string, limitMs: number): Promise<void> {
  for (const ends = performance.now() + limitMs; performance.now() < ends;) {
    const there = await stat(socket).then(
      () => true,
      () => false,
    );
    if (!there) return;
    await pause(ABORT_FIRST_POLL_MS);
  }
}

function accepts(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.once('connect', () => {
      connection.destroy();
      resolve(true);
    });
    connection.once('error', () => resolve(false));
  });
}
