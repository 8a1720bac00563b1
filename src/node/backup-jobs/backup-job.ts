import { lstat, open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { LimitFunction } from 'p-limit';
import { DomainError } from '../../kernel/domain-error.js';
import { messageOf } from '../../kernel/error-message.js';
import type { Clock } from '../../lib/clock/clock.js';
import { ContentDigest, type KeyedDigest } from '../../contract/content-digest.js';
import { loggerFor } from '../../lib/logging/logger.js';
import type { NodeJobReport } from '../../contract/backup-job.js';
import { changeIdOf } from '../../contract/change-id.js';
import { nbdUri, parseExportUri, parseNbdAddress } from '../../lib/nbd/nbd-uri.js';
import type { ProcessSupervisor } from '../../lib/process/process-supervisor.port.js';
import { wayToExport } from '../../tunnel/interface/tunnel-sockets.js';
import { bytesBefore, type Extent, progressFraction, totalBytes } from '../model/extents.plan.js';
import {
  changed,
  disksAtOutcome,
  type JobOutcome,
  type Failure,
  isFinished,
  type JobRecord,
  reportOf,
  resumedJob,
  type SnapshotDisk,
  type StandingSnapshot,
  withDisk,
} from '../model/job.state.js';
import { parseNbdTargets } from '../model/nbd-targets.plan.js';
import type { Source } from '../sources/source.port.js';
import { changedCopyArgv, type Copy, type CopyTuning, fullCopy, networkCopy, type RateLimit, rateText } from '../transfers/transfer.plan.js';
import type { JobJournal } from './job-journal.js';

const COPY_PROGRAM = [process.execPath, fileURLToPath(new URL('../main.copy.js', import.meta.url))] as const;
const STOP_GRACE_MS = 3_000;
const RELEASE_RETRY_MS = 2_000;
const SNAPSHOT_WATCH_MS = 1_000;
/** Window over which speed is averaged. */
const SPEED_WINDOW_MS = 5_000;
/** Holds at least the last two lines of progress. */
const PROGRESS_TAIL_BYTES = 64;
/** Maximum length of a failure's detail, in characters. The hub limits it too. */
const MAX_DETAIL = 8_000;

export interface JobDependencies {
  readonly source: Source;
  readonly supervisor: ProcessSupervisor;
  readonly journal: JobJournal;
  readonly clock: Clock;
  /** Limits the copies that run at once, over all jobs. */
  readonly slots: LimitFunction;
  readonly tuning: CopyTuning;
  /** The targets are on this machine, not across a network. */
  readonly targetsAreLocal: boolean;
  /** Directory of the tunnel to the hub, if there is one. */
  readonly tunnelDirectory: string;
  /** How long a copy waits for a lost network. */
  readonly networkPatienceSeconds: number;
  /** Called after every change of state. */
  readonly onChange: (job: BackupJob) => void;
}

/**
 * One backup of one VM: snapshot, copies, release. Each step is recorded in the journal and in the run directories of its processes before the next begins, so
 * a restarted node can resume.
 */
export class BackupJob {
  private readonly logger = loggerFor('BackupJob');
  /** URIs by disk key: as the hub gave them, until this node's own route to them is known. */
  private targets: ReadonlyMap<string, string>;
  private readonly extents = new Map<string, readonly Extent[]>();
  /** Ends the wait for copies: on cancellation, on the first failure, and when the node shuts down. */
  private readonly stopping = new AbortController();
  private readonly begunCopies = new Set<Promise<void>>();
  /** Indexes of the disks being copied, which share the bandwidth. */
  private readonly copyingNow = new Set<number>();
  private readonly end = Promise.withResolvers<undefined>();
  private readonly samples: { readonly atMs: number; readonly bytes: number }[] = [];
  private detached = false;
  private resumed = false;
  private writing: Promise<void> = Promise.resolve();
  private measuring: Promise<void> | null = null;

  constructor(
    private record: JobRecord,
    private readonly dependencies: JobDependencies,
  ) {
    this.targets = parseNbdTargets(
      record.request.nbd_targets_string,
      record.request.disks.map((disk) => disk.disk_key),
    );
  }

  get id(): string {
    return this.record.request.job_id;
  }

  get vmKey(): string {
    return this.record.vm_key;
  }

  get request(): JobRecord['request'] {
    return this.record.request;
  }

  get finished(): boolean {
    return isFinished(this.record);
  }

  /** Resolves when the job has finished; never, if the node shuts down first. */
  async whenFinished(): Promise<void> {
    await this.end.promise;
  }

  /** Measures the copies, then reports the state of the job. */
  async report(): Promise<NodeJobReport> {
    if (!this.finished) {
      this.measuring ??= this.measure().finally(() => {
        this.measuring = null;
      });
      await this.measuring;
    }
    return reportOf(this.record, this.finished ? 0 : this.speed());
  }

  /** Writes the keys and the first record. Nothing else happens before they are durable. */
  async create(keys: readonly (string | null)[]): Promise<void> {
    await this.dependencies.journal.create(this.record, keys);
  }

  /** Resumes a job after a restart of the node. */
  async resume(): Promise<void> {
    if (this.finished) {
      this.end.resolve(undefined);
      return;
    }
    this.resumed = true;
    this.record = resumedJob(this.record, this.dependencies.clock.iso());
    await this.dependencies.journal.write(this.record);
  }

  /** Runs the job until it ends. Never rejects. */
  async run(): Promise<void> {
    if (this.finished) return;
    try {
      const ending = this.record.at.phase === 'release' ? this.record.at.ending : await this.work();
      if (ending !== null) await this.finish(ending);
    } catch (error) {
      this.logger.error('a backup job ended unexpectedly', { job_id: this.id, error });
    }
  }

  /** Ends the job as cancelled unless it has already ended otherwise. Returns once the request is durable, before the job ends. */
  async cancel(): Promise<void> {
    if (this.record.at.phase === 'release' || this.finished || this.record.cancel_requested) return;
    await this.change({ cancel_requested: true });
    this.stopping.abort();
  }

  /** Leaves all processes running for the next start of the node. */
  detach(): void {
    this.detached = true;
    this.stopping.abort();
  }

  /** null: detached. */
  private async work(): Promise<JobOutcome | null> {
    try {
      this.throwIfStopping();
      const snapshot = this.record.at.phase === 'transfer' ? await this.adopt(this.record.at.snapshot) : await this.takeSnapshot();
      this.throwIfStopping();
      await this.copyAll(snapshot);
      await this.dependencies.source.confirmSnapshot(this.dependencies.journal.snapshotDirectory(this.id), snapshot);
      await this.dependencies.source.verifySnapshot(this.request.vm.source_ref, snapshot);
      this.throwIfStopping();
      return { outcome: 'completed' };
    } catch (error) {
      if (this.detached) return null;
      if (this.record.cancel_requested) return { outcome: 'cancelled' };
      const { failure, diskKey } = failureOf(await this.causeOf(error));
      if (failure.code === 'internal_error') this.logger.error('a backup job failed unexpectedly', { job_id: this.id, error });
      return { outcome: 'failed', error: failure, disk_key: diskKey };
    }
  }

  /** A copy fails when its source goes away; the loss of the source is then the cause. */
  private async causeOf(error: unknown): Promise<unknown> {
    const snapshot = this.copying();
    if (snapshot === null || !(error instanceof DomainError) || error.code !== 'transfer_failed') return error;
    try {
      await this.dependencies.source.confirmSnapshot(this.dependencies.journal.snapshotDirectory(this.id), snapshot);
      return error;
    } catch (cause) {
      return cause instanceof DomainError ? cause : error;
    }
  }

  private async takeSnapshot(): Promise<StandingSnapshot> {
    const directory = this.dependencies.journal.snapshotDirectory(this.id);
    if (this.resumed) await this.dependencies.source.releaseSnapshot(directory);
    const { standing, extents } = await this.dependencies.source.takeSnapshot({
      sourceRef: this.request.vm.source_ref,
      disks: this.request.disks.map((disk) => ({ diskKey: disk.disk_key, sizeBytes: disk.size_bytes, parentChangeId: disk.parent_change_id })),
      changeId: changeIdOf(this.request.hub_id, this.id),
      directory,
      quiesce: this.request.quiesce ?? 'none',
    });
    await Promise.all(
      standing.disks.map(async (disk, index) => {
        const list = extents.get(disk.disk_key) ?? [];
        this.extents.set(disk.disk_key, list);
        await this.dependencies.journal.writeExtents(this.id, index, list);
      }),
    );
    this.throwIfStopping();
    const disks = this.record.disks.map((disk) => ({ ...disk, total_bytes: totalBytes(this.extents.get(disk.disk_key) ?? []) }));
    await this.change({ at: { phase: 'transfer', snapshot: standing }, disks });
    return standing;
  }

  private async adopt(snapshot: StandingSnapshot): Promise<StandingSnapshot> {
    for (const [index, disk] of snapshot.disks.entries()) this.extents.set(disk.disk_key, await this.dependencies.journal.readExtents(this.id, index));
    await this.dependencies.source.confirmSnapshot(this.dependencies.journal.snapshotDirectory(this.id), snapshot);
    return snapshot;
  }

  private async copyAll(snapshot: StandingSnapshot): Promise<void> {
    const { signal } = this.stopping;
    const stopped = new Promise<never>((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(new Stopping()), { once: true });
      if (signal.aborted) reject(new Stopping());
    });
    const over = new AbortController();
    this.targets = new Map(await Promise.all(this.request.disks.map((disk, index) => this.reachedTarget(disk.disk_key, index))));
    try {
      const copies = Promise.all(snapshot.disks.map((disk, index) => this.copyDisk(disk, index)));
      await Promise.race([copies, stopped, this.watchSnapshot(snapshot, over.signal)]);
    } finally {
      over.abort();
    }
  }

  private async reachedTarget(diskKey: string, index: number): Promise<readonly [diskKey: string, uri: string]> {
    const { place, needsKey, exportName } = parseExportUri(this.targets.get(diskKey) ?? '');
    const way = await wayToExport(place, this.dependencies.tunnelDirectory);
    return [diskKey, nbdUri(needsKey ? { ...way, keyFile: this.dependencies.journal.keyFile(this.id, index) } : way, exportName)];
  }

  /** A copy may not notice that the snapshot behind its source is gone. Never resolves before `over`. @throws DomainError snapshot_lost */
  private async watchSnapshot(snapshot: StandingSnapshot, over: AbortSignal): Promise<never> {
    const directory = this.dependencies.journal.snapshotDirectory(this.id);
    for (;;) {
      await pause(SNAPSHOT_WATCH_MS, undefined, { signal: over });
      await this.dependencies.source.confirmSnapshot(directory, snapshot);
    }
  }

  private async copyDisk(disk: SnapshotDisk, index: number): Promise<void> {
    if ((this.extents.get(disk.disk_key) ?? []).length === 0) {
      this.changeDisk(disk.disk_key, { status: 'completed', ...this.contentOf(new ContentDigest().result) });
      return;
    }
    await this.dependencies.slots(async () => {
      this.throwIfStopping();
      const copy = this.copy(disk, index);
      this.begunCopies.add(copy);
      await copy;
    });
  }

  private async copy(disk: SnapshotDisk, index: number): Promise<void> {
    const directory = this.dependencies.journal.copyDirectory(this.id, index);
    this.changeDisk(disk.disk_key, { status: 'running' });
    // The copy may have been started before a restart of the node. Starting it again is then a no-op, and the wait below is for that process.
    this.copyingNow.add(index);
    await this.shareBandwidth();
    const { argv, readsImage = false } = this.copyOf(disk, index);
    const rights = readsImage || !(await isOurSocket(disk.uri)) ? 'files' : 'none';
    await this.dependencies.supervisor.start(directory, argv, { captureFd3: true, background: true, rights });
    const ended = await this.dependencies.supervisor.waitForExit(directory, this.stopping.signal);
    this.copyingNow.delete(index);
    await this.shareBandwidth();
    // A process without space for its exit code looks as if it was killed.
    if (ended.exitCode === null && (await this.dependencies.journal.isFull())) throw this.dependencies.journal.storageFull();
    if (ended.exitCode !== 0) throw copyFailure(disk.disk_key, argv[0], ended);
    const content = this.contentOf(this.dependencies.targetsAreLocal ? null : await this.dependencies.journal.readDigest(this.id, index));
    this.changeDisk(disk.disk_key, { status: 'completed', bytes_transferred: totalBytes(this.extents.get(disk.disk_key) ?? []), ...content });
  }

  /** The tools that copy next to the hub compute no digests (ADR 18). */
  private contentOf(digest: KeyedDigest | null): { readonly content?: KeyedDigest } {
    return this.dependencies.targetsAreLocal || digest === null ? {} : { content: digest };
  }

  private copyOf(disk: SnapshotDisk, index: number): Copy {
    const target = this.targets.get(disk.disk_key) ?? '';
    const incremental = this.request.disks.some((one) => one.disk_key === disk.disk_key && one.parent_change_id !== null);
    const limit = this.bandwidth(index);
    const extents = this.dependencies.journal.extentsFile(this.id, index);
    if (!this.dependencies.targetsAreLocal) {
      const ride = { program: COPY_PROGRAM, patienceSeconds: this.dependencies.networkPatienceSeconds };
      return networkCopy(
        disk.uri,
        { file: extents, digestFile: this.dependencies.journal.digestFile(this.id, index), onto: incremental ? 'parent' : 'new' },
        target,
        ride,
        limit,
      );
    }
    if (!incremental) return fullCopy(disk, target, this.dependencies.tuning, limit);
    return { argv: changedCopyArgv(disk.uri, extents, target, this.dependencies.tuning, limit), progress: 'fd3' };
  }

  private bandwidth(index: number): RateLimit | null {
    const limit = this.request.bandwidth_limit_bps;
    return limit === undefined ? null : { bytesPerSecond: limit / Math.max(1, this.copyingNow.size), file: this.dependencies.journal.rateFile(this.id, index) };
  }

  /** Divides the job's bandwidth equally among its running copies; the tools poll their rate files. */
  private async shareBandwidth(): Promise<void> {
    await Promise.all(
      [...this.copyingNow].map(async (index) => {
        const limit = this.bandwidth(index);
        if (limit !== null) await this.dependencies.journal.writeRate(this.id, index, rateText(limit.bytesPerSecond));
      }),
    );
  }

  /** Stops the copies first, then the servers they read from. Only then are the source's disks free and the job done. */
  private async finish(ending: JobOutcome): Promise<void> {
    await this.changeIfPossible({ at: { phase: 'release', snapshot: this.snapshot(), ending }, disks: disksAtOutcome(this.record, ending) });
    this.stopping.abort();
    for (;;) {
      try {
        await this.stopEverything();
        break;
      } catch (error) {
        if (this.detached) return;
        this.logger.error('the processes of a backup job could not be stopped; retrying', { job_id: this.id, retry_ms: RELEASE_RETRY_MS, error });
        await pause(RELEASE_RETRY_MS);
      }
    }
    await this.changeIfPossible({ at: { phase: 'done', snapshot: this.snapshot(), ending } });
    this.logger.info('backup job finished', {
      job_id: this.id,
      outcome: ending.outcome,
      ...(ending.outcome === 'failed' ? { code: ending.error.code, detail: ending.error.detail } : {}),
    });
    this.end.resolve(undefined);
  }

  private async stopEverything(): Promise<void> {
    const { journal, supervisor, source } = this.dependencies;
    const stopCopies = async (): Promise<void> => {
      await Promise.all((await journal.copyDirectories(this.id)).map((directory) => supervisor.stop(directory, STOP_GRACE_MS)));
    };
    await stopCopies();
    await Promise.allSettled(this.begunCopies);
    // A copy may have started during the first pass.
    await stopCopies();
    await source.releaseSnapshot(journal.snapshotDirectory(this.id));
    await journal.removeRunDirectories(this.id);
  }

  /** The snapshot, while its disks are being copied. */
  private copying(): StandingSnapshot | null {
    return this.record.at.phase === 'transfer' ? this.record.at.snapshot : null;
  }

  private snapshot(): StandingSnapshot | null {
    return this.record.at.phase === 'snapshot' ? null : this.record.at.snapshot;
  }

  private throwIfStopping(): void {
    if (this.stopping.signal.aborted || this.record.cancel_requested) throw new Stopping();
  }

  private changeDisk(diskKey: string, change: Parameters<typeof withDisk>[2]): void {
    if (this.record.at.phase !== 'transfer') return;
    this.record = changed(this.record, { disks: withDisk(this.record, diskKey, change) }, this.dependencies.clock.iso());
    this.dependencies.onChange(this);
  }

  /** Durable once it resolves. */
  private async change(change: Parameters<typeof changed>[1]): Promise<void> {
    this.record = changed(this.record, change, this.dependencies.clock.iso());
    const written = this.writing.then(() => this.dependencies.journal.write(this.record));
    this.writing = written.catch(() => undefined);
    await written;
    this.dependencies.onChange(this);
  }

  /** A full disk must not keep the source locked. After a restart the node infers the rest from the processes. */
  private async changeIfPossible(change: Parameters<typeof changed>[1]): Promise<void> {
    try {
      await this.change(change);
    } catch (error) {
      this.logger.error('the journal of a backup job cannot be written', { job_id: this.id, error });
      this.dependencies.onChange(this);
    }
  }

  private async measure(): Promise<void> {
    const snapshot = this.copying();
    if (snapshot === null) return;
    const moved = await Promise.all(snapshot.disks.map((disk, index) => this.measureCopy(disk, index)));
    // The copies may have ended in the meantime.
    if (this.copying() === null) return;
    const updated = this.record.disks.map((disk, index) => {
      const bytes = moved[index] ?? null;
      return disk.status === 'running' && bytes !== null && bytes > disk.bytes_transferred ? { ...disk, bytes_transferred: bytes } : disk;
    });
    if (updated.some((disk, index) => disk !== this.record.disks[index])) this.record = changed(this.record, { disks: updated }, this.dependencies.clock.iso());
    const atMs = performance.now();
    this.samples.push({ atMs, bytes: this.record.disks.reduce((sum, disk) => sum + disk.bytes_transferred, 0) });
    while (this.samples.length > 2 && atMs - (this.samples[0]?.atMs ?? atMs) > SPEED_WINDOW_MS) this.samples.shift();
  }

  /** Bytes copied so far; null if unknown. The tools report their position on the disk in percent. */
  private async measureCopy(disk: SnapshotDisk, index: number): Promise<number | null> {
    const tail = await readTail(join(this.dependencies.journal.copyDirectory(this.id, index), this.copyOf(disk, index).progress));
    const fraction = tail === null ? null : progressFraction(tail);
    return fraction === null ? null : bytesBefore(this.extents.get(disk.disk_key) ?? [], Math.floor(fraction * disk.size_bytes));
  }

  private speed(): number {
    const first = this.samples[0];
    const last = this.samples.at(-1);
    if (first === undefined || last === undefined || last.atMs - first.atMs < 1) return 0;
    return ((last.bytes - first.bytes) * 1000) / (last.atMs - first.atMs);
  }
}

/** Not a failure: the job was cancelled, has failed elsewhere, or the node is shutting down. */
class Stopping extends Error {
  override readonly name = 'Stopping';
}

function copyFailure(key: string, tool: string, ended: { readonly exitCode: number | null; readonly stderr: string }): DomainError {
  const facts = { disk_key: key, exit_code: ended.exitCode };
  if (ended.exitCode === 127) {
    const detail = `${tool} is not installed on the node, or not in its PATH. Install the packages qemu-utils and libnbd-bin and try again.`;
    return new DomainError('unavailable', 'tool_missing', detail, { tool });
  }
  if (/writ(e|ing)\b.*: No space left on device/.test(ended.stderr)) {
    return new DomainError('storage_full', 'target_full', `The target of disk "${key}" has no space left: ${ended.stderr.trim()}`, facts);
  }
  if (ended.exitCode === null) return new DomainError('unavailable', 'transfer_failed', `The copy of disk "${key}" was killed.`, facts);
  const said = ended.stderr.trim() === '' ? ' without an error message' : `: ${ended.stderr.trim()}`;
  return new DomainError('unavailable', 'transfer_failed', `The copy of disk "${key}" ended with exit code ${ended.exitCode}${said}`, facts);
}

function failureOf(error: unknown): { readonly failure: Failure; readonly diskKey: string | null } {
  if (error instanceof DomainError) {
    const key = error.facts['disk_key'];
    return { failure: { code: error.code, detail: error.message.slice(0, MAX_DETAIL) }, diskKey: typeof key === 'string' ? key : null };
  }
  const detail = messageOf(error);
  if (error instanceof Error && 'code' in error && error.code === 'tool_missing') return { failure: { code: 'tool_missing', detail }, diskKey: null };
  return { failure: { code: 'internal_error', detail: detail.slice(0, MAX_DETAIL) }, diskKey: null };
}

async function readTail(path: string): Promise<string | null> {
  try {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      const { buffer, bytesRead } = await file.read(Buffer.alloc(PROGRESS_TAIL_BYTES), 0, PROGRESS_TAIL_BYTES, Math.max(0, size - PROGRESS_TAIL_BYTES));
      return buffer.toString('latin1', 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch {
    // Not started yet or already gone. Progress is informational only.
    return null;
  }
}

/** False for a socket that belongs to a guest's qemu. */
async function isOurSocket(uri: string): Promise<boolean> {
  const { address } = parseNbdAddress(uri);
  if (!('socket' in address)) return true;
  const found = await lstat(address.socket).catch(() => null);
  return found?.uid === process.getuid?.();
}
