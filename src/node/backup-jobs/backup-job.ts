import { lstat, open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { DomainError } from '../../kernel/domain-error.js';
import { messageOf } from '../../kernel/error-message.js';
import type { Clock } from '../../lib/clock/clock.js';
import { ContentDigest, type KeyedDigest } from '../../contract/content-digest.js';
import { loggerFor } from '../../lib/logging/logger.js';
import { changeIdOf, type NodeJobReport } from '../../contract/node-api.js';
import { nbdUri, parseExportUri, parseNbdAddress } from '../../lib/nbd/nbd-uri.js';
import type { ProcessSupervisor } from '../../lib/process/process-supervisor.port.js';
import { wayToExport } from '../../tunnel/interface/tunnel-sockets.js';
import { bytesBefore, type Extent, progressFraction, totalBytes } from '../model/extents.plan.js';
import {
  changed,
  disksAtEnding,
  type Ending,
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
import type { Slots } from '../transfers/slots.js';
import { changedCopyArgv, type Copy, type CopyTuning, fullCopy, networkCopy, type RateLimit, rateText } from '../transfers/transfer.plan.js';
import type { JobJournal } from './job-journal.js';

const COPY_PROGRAM = [process.execPath, fileURLToPath(new URL('../main.copy.js', import.meta.url))] as const;
const STOP_GRACE_MS = 3_000;
const RELEASE_RETRY_MS = 2_000;
const SNAPSHOT_WATCH_MS = 1_000;
/** Speed is an average over this time. */
const SPEED_WINDOW_MS = 5_000;
/** Enough for the last two lines of progress. */
const PROGRESS_TAIL_BYTES = 64;
/** Detail of a failure, in characters: the hub refuses endless ones. */
const MAX_DETAIL = 8_000;

export interface JobSurroundings {
  readonly source: Source;
  readonly supervisor: ProcessSupervisor;
  readonly journal: JobJournal;
  readonly clock: Clock;
  /** Copies of all jobs at once. */
  readonly slots: Slots;
  readonly tuning: CopyTuning;
  /** The targets are served on this machine, not at the far end of a network. */
  readonly targetsAreLocal: boolean;
  /** Of the tunnel that leads to the hub, where there is one. */
  readonly tunnelDirectory: string;
  /** How long a copy waits for a network that is away. */
  readonly networkPatienceSeconds: number;
  /** Called after every change of state. */
  readonly onChange: (job: BackupJob) => void;
}

/**
 * One backup of one VM: snapshot, copies, release. What it has done stands in the journal and in the run directories of its processes before the next step is taken, so a
 * later life of the node goes on from there.
 */
export class BackupJob {
  private readonly logger = loggerFor('BackupJob');
  /** URIs by disk key: as the hub names them, until it is known how this node reaches them. */
  private targets: ReadonlyMap<string, string>;
  private readonly extents = new Map<string, readonly Extent[]>();
  /** Ends the wait for copies: on cancel, on the first failure, and when the node shuts down. */
  private readonly stopping = new AbortController();
  private readonly begunCopies = new Set<Promise<void>>();
  /** Numbers of the disks that are being copied: they share the bandwidth. */
  private readonly copyingNow = new Set<number>();
  private readonly end = Promise.withResolvers<undefined>();
  private readonly samples: { readonly atMs: number; readonly bytes: number }[] = [];
  private detached = false;
  private resumed = false;
  private writing: Promise<void> = Promise.resolve();
  private measuring: Promise<void> | null = null;

  constructor(
    private record: JobRecord,
    private readonly around: JobSurroundings,
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

  /** Resolves when the job has finished; never, when the node is shut down before. */
  async whenFinished(): Promise<void> {
    await this.end.promise;
  }

  /** Measures the copies, then tells how the job stands. */
  async report(): Promise<NodeJobReport> {
    if (!this.finished) {
      this.measuring ??= this.measure().finally(() => {
        this.measuring = null;
      });
      await this.measuring;
    }
    return reportOf(this.record, this.finished ? 0 : this.speed());
  }

  /** Writes keys and first record: nothing is done before that is durable. */
  async create(keys: readonly (string | null)[]): Promise<void> {
    await this.around.journal.create(this.record, keys);
  }

  /** Takes up a job of an earlier life of the node. */
  async resume(): Promise<void> {
    if (this.finished) {
      this.end.resolve(undefined);
      return;
    }
    this.resumed = true;
    this.record = resumedJob(this.record, this.around.clock.iso());
    await this.around.journal.write(this.record);
  }

  /** Runs the job to its end. Never rejects. */
  async run(): Promise<void> {
    if (this.finished) return;
    try {
      const ending = this.record.at.phase === 'release' ? this.record.at.ending : await this.work();
      if (ending !== null) await this.finish(ending);
    } catch (error) {
      this.logger.error('a backup job ended unexpectedly', { job_id: this.id, error });
    }
  }

  /** The job ends as cancelled unless it has ended otherwise by then. Returns once that is durable, before the job has ended. */
  async cancel(): Promise<void> {
    if (this.record.at.phase === 'release' || this.finished || this.record.cancel_requested) return;
    await this.change({ cancel_requested: true });
    this.stopping.abort();
  }

  /** Leaves everything as it runs, for the next life of the node. */
  detach(): void {
    this.detached = true;
    this.stopping.abort();
  }

  /** null: detached. */
  private async work(): Promise<Ending | null> {
    try {
      this.throwIfStopping();
      const snapshot = this.record.at.phase === 'transfer' ? await this.adopt(this.record.at.snapshot) : await this.takeSnapshot();
      this.throwIfStopping();
      await this.copyAll(snapshot);
      await this.around.source.confirmSnapshot(this.around.journal.snapshotDirectory(this.id), snapshot);
      await this.around.source.verifySnapshot(this.request.vm.source_ref, snapshot);
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

  /** A copy ends when what it reads from goes away: then that is the cause. */
  private async causeOf(error: unknown): Promise<unknown> {
    const snapshot = this.copying();
    if (snapshot === null || !(error instanceof DomainError) || error.code !== 'transfer_failed') return error;
    try {
      await this.around.source.confirmSnapshot(this.around.journal.snapshotDirectory(this.id), snapshot);
      return error;
    } catch (cause) {
      return cause instanceof DomainError ? cause : error;
    }
  }

  private async takeSnapshot(): Promise<StandingSnapshot> {
    const directory = this.around.journal.snapshotDirectory(this.id);
    if (this.resumed) await this.around.source.releaseSnapshot(directory);
    const { standing, extents } = await this.around.source.takeSnapshot({
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
        await this.around.journal.writeExtents(this.id, index, list);
      }),
    );
    this.throwIfStopping();
    const disks = this.record.disks.map((disk) => ({ ...disk, total_bytes: totalBytes(this.extents.get(disk.disk_key) ?? []) }));
    await this.change({ at: { phase: 'transfer', snapshot: standing }, disks });
    return standing;
  }

  private async adopt(snapshot: StandingSnapshot): Promise<StandingSnapshot> {
    for (const [index, disk] of snapshot.disks.entries()) this.extents.set(disk.disk_key, await this.around.journal.readExtents(this.id, index));
    await this.around.source.confirmSnapshot(this.around.journal.snapshotDirectory(this.id), snapshot);
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
    const way = await wayToExport(place, this.around.tunnelDirectory);
    return [diskKey, nbdUri(needsKey ? { ...way, keyFile: this.around.journal.keyFile(this.id, index) } : way, exportName)];
  }

  /** A copy may not notice that what holds its source still has gone. Never resolves before it is over. @throws DomainError snapshot_lost */
  private async watchSnapshot(snapshot: StandingSnapshot, over: AbortSignal): Promise<never> {
    const directory = this.around.journal.snapshotDirectory(this.id);
    for (;;) {
      await pause(SNAPSHOT_WATCH_MS, undefined, { signal: over });
      await this.around.source.confirmSnapshot(directory, snapshot);
    }
  }

  private async copyDisk(disk: SnapshotDisk, index: number): Promise<void> {
    if ((this.extents.get(disk.disk_key) ?? []).length === 0) {
      this.changeDisk(disk.disk_key, { status: 'completed', ...this.contentOf(new ContentDigest().result) });
      return;
    }
    await this.around.slots.use(async () => {
      this.throwIfStopping();
      const copy = this.copy(disk, index);
      this.begunCopies.add(copy);
      await copy;
    });
  }

  private async copy(disk: SnapshotDisk, index: number): Promise<void> {
    const directory = this.around.journal.copyDirectory(this.id, index);
    this.changeDisk(disk.disk_key, { status: 'running' });
    // An earlier life of the node may have started it: then this does nothing, and the wait below is for that process.
    this.copyingNow.add(index);
    await this.shareBandwidth();
    const { argv, readsImage = false } = this.copyOf(disk, index);
    const rights = readsImage || !(await isOurSocket(disk.uri)) ? 'files' : 'none';
    await this.around.supervisor.start(directory, argv, { captureFd3: true, background: true, rights });
    const ended = await this.around.supervisor.waitForExit(directory, this.stopping.signal);
    this.copyingNow.delete(index);
    await this.shareBandwidth();
    // Without space for its exit code, it looks as if it had been killed.
    if (ended.exitCode === null && (await this.around.journal.isFull())) throw this.around.journal.storageFull();
    if (ended.exitCode !== 0) throw copyFailure(disk.disk_key, argv[0], ended);
    const content = this.contentOf(this.around.targetsAreLocal ? null : await this.around.journal.readDigest(this.id, index));
    this.changeDisk(disk.disk_key, { status: 'completed', bytes_transferred: totalBytes(this.extents.get(disk.disk_key) ?? []), ...content });
  }

  /** The tools that copy next to the hub make no digests (ADR 18). */
  private contentOf(digest: KeyedDigest | null): { readonly content?: KeyedDigest } {
    return this.around.targetsAreLocal || digest === null ? {} : { content: digest };
  }

  private copyOf(disk: SnapshotDisk, index: number): Copy {
    const target = this.targets.get(disk.disk_key) ?? '';
    const incremental = this.request.disks.some((one) => one.disk_key === disk.disk_key && one.parent_change_id !== null);
    const limit = this.bandwidth(index);
    const extents = this.around.journal.extentsFile(this.id, index);
    if (!this.around.targetsAreLocal) {
      const ride = { program: COPY_PROGRAM, patienceSeconds: this.around.networkPatienceSeconds };
      return networkCopy(
        disk.uri,
        { file: extents, digestFile: this.around.journal.digestFile(this.id, index), onto: incremental ? 'parent' : 'new' },
        target,
        ride,
        limit,
      );
    }
    if (!incremental) return fullCopy(disk, target, this.around.tuning, limit);
    return { argv: changedCopyArgv(disk.uri, extents, target, this.around.tuning, limit), progress: 'fd3' };
  }

  private bandwidth(index: number): RateLimit | null {
    const limit = this.request.bandwidth_limit_bps;
    return limit === undefined ? null : { bytesPerSecond: limit / Math.max(1, this.copyingNow.size), file: this.around.journal.rateFile(this.id, index) };
  }

  /** Each copy that runs gets an equal part of what the job may take; the tools look at their files again and again. */
  private async shareBandwidth(): Promise<void> {
    await Promise.all(
      [...this.copyingNow].map(async (index) => {
        const limit = this.bandwidth(index);
        if (limit !== null) await this.around.journal.writeRate(this.id, index, rateText(limit.bytesPerSecond));
      }),
    );
  }

  /** Copies stop first, then what they read from; only when all that is gone is the job done, because only then are the source's disks free. */
  private async finish(ending: Ending): Promise<void> {
    await this.changeIfPossible({ at: { phase: 'release', snapshot: this.snapshot(), ending }, disks: disksAtEnding(this.record, ending) });
    this.stopping.abort();
    for (;;) {
      try {
        await this.stopEverything();
        break;
      } catch (error) {
        if (this.detached) return;
        this.logger.error('the processes of a backup job could not be stopped; trying again', { job_id: this.id, retry_ms: RELEASE_RETRY_MS, error });
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
    const { journal, supervisor, source } = this.around;
    const stopCopies = async (): Promise<void> => {
      await Promise.all((await journal.copyDirectories(this.id)).map((directory) => supervisor.stop(directory, STOP_GRACE_MS)));
    };
    await stopCopies();
    await Promise.allSettled(this.begunCopies);
    // A copy that was just being started when the first round looked.
    await stopCopies();
    await source.releaseSnapshot(journal.snapshotDirectory(this.id));
    await journal.removeRunDirectories(this.id);
  }

  /** The snapshot while its disks are being copied. */
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
    this.record = changed(this.record, { disks: withDisk(this.record, diskKey, change) }, this.around.clock.iso());
    this.around.onChange(this);
  }

  /** Durable when it resolves. */
  private async change(change: Parameters<typeof changed>[1]): Promise<void> {
    this.record = changed(this.record, change, this.around.clock.iso());
    const written = this.writing.then(() => this.around.journal.write(this.record));
    this.writing = written.catch(() => undefined);
    await written;
    this.around.onChange(this);
  }

  /** A full disk must not keep us from freeing the source; a later life of the node works the rest out from the processes. */
  private async changeIfPossible(change: Parameters<typeof changed>[1]): Promise<void> {
    try {
      await this.change(change);
    } catch (error) {
      this.logger.error('the journal of a backup job cannot be written', { job_id: this.id, error });
      this.around.onChange(this);
    }
  }

  private async measure(): Promise<void> {
    const snapshot = this.copying();
    if (snapshot === null) return;
    const moved = await Promise.all(snapshot.disks.map((disk, index) => this.measureCopy(disk, index)));
    // The copies may have ended meanwhile.
    if (this.copying() === null) return;
    const updated = this.record.disks.map((disk, index) => {
      const bytes = moved[index] ?? null;
      return disk.status === 'running' && bytes !== null && bytes > disk.bytes_transferred ? { ...disk, bytes_transferred: bytes } : disk;
    });
    if (updated.some((disk, index) => disk !== this.record.disks[index])) this.record = changed(this.record, { disks: updated }, this.around.clock.iso());
    const atMs = performance.now();
    this.samples.push({ atMs, bytes: this.record.disks.reduce((sum, disk) => sum + disk.bytes_transferred, 0) });
    while (this.samples.length > 2 && atMs - (this.samples[0]?.atMs ?? atMs) > SPEED_WINDOW_MS) this.samples.shift();
  }

  /** Bytes moved so far; null when that is not known. The tools tell their position on the disk in percent. */
  private async measureCopy(disk: SnapshotDisk, index: number): Promise<number | null> {
    const tail = await readTail(join(this.around.journal.copyDirectory(this.id, index), this.copyOf(disk, index).progress));
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

/** Not a failure: the job was cancelled, has failed elsewhere, or the node shuts down. */
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
  const said = ended.stderr.trim() === '' ? ' without a word' : `: ${ended.stderr.trim()}`;
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
    // Not started yet, or gone already: progress is only for people to watch.
    return null;
  }
}

/** False for a socket that belongs to the qemu of a guest. */
async function isOurSocket(uri: string): Promise<boolean> {
  const { address } = parseNbdAddress(uri);
  if (!('socket' in address)) return true;
  const found = await lstat(address.socket).catch(() => null);
  return found?.uid === process.getuid?.();
}
