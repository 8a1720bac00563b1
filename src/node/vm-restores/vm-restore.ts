import { link, lstat, mkdir, open, realpath, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { ifThere } from '../../lib/files/if-there.js';
import type { LimitFunction } from 'p-limit';
import { retry } from '../../lib/concurrency/retry.js';
import { DomainError } from '../../kernel/domain-error.js';
import { messageOf } from '../../kernel/error-message.js';
import { WrongShapeError } from '../../lib/json-shape/json-shape.js';
import type { LibvirtDomains } from '../libvirt/libvirt-domains.js';
import { type RestoredDisk, restoredDomain, type RewrittenDefinition, uuidInDefinition } from '../../lib/libvirt/restored-domain.plan.js';
import { loggerFor } from '../../lib/logging/logger.js';
import type { NbdInfo } from '../../lib/nbd/nbd-info.js';
import { parseExportUri } from '../../lib/nbd/nbd-uri.js';
import type { NodeVmRestoreReport } from '../../contract/vm-restore.js';
import type { ProcessSupervisor } from '../../lib/process/process-supervisor.port.js';
import { errnoOf } from '../../lib/process/system-error.js';
import { ToolError } from '../../lib/process/tool-error.js';
import { compareNbdArgv, convertNbdArgv, percentIn } from '../../lib/qemu/disk-copy.plan.js';
import { syncToDisk } from '../../lib/files/durable-write.js';
import { reachedExport } from '../model/served-disks.js';
import { type VmRestoreDisk, type VmRestoreOutcome, type VmRestoreRecord, vmRestoreReport, withRestoredDisk } from '../model/vm-restore.state.js';
import type { GuestDisk, GuestDisks } from '../guest-disks/guest-disks.service.js';
import type { VmRestoreJournal } from './vm-restore-journal.js';

const STOP_GRACE_MS = 3_000;
const UNDO_RETRY_MS = 2_000;
const NBD_DEADLINE_MS = 15_000;
const RETRY_MS = 1_000;
/** The last few characters of qemu-img's output contain the latest figure. */
const PROGRESS_TAIL_BYTES = 64;
const NO_SPACE = /no space left|disk quota exceeded|file too large/i;

export interface VmRestoreDependencies {
  readonly domains: LibvirtDomains;
  readonly journal: VmRestoreJournal;
  readonly supervisor: ProcessSupervisor;
  readonly nbdInfo: NbdInfo;
  readonly guestDisks: GuestDisks;
  /** Limits the copies of all restores that run at once. */
  readonly slots: LimitFunction;
  readonly storageRoots: () => readonly string[];
  /** Directory of the tunnel to the hub, if there is one. */
  readonly tunnelDirectory: string;
  /** How long disk copies wait for a lost connection to the hub; 0: there is no network in between. */
  readonly patienceSeconds: number;
}

/**
 * One VM made from a restore point. Every step checks for existing results, so that a restarted node resumes from the journal. A domain's metadata names its
 * job; a file belongs to the job that has a link to it in its working folder, which stays until the job is settled.
 */
export class VmRestore {
  private readonly logger = loggerFor('VmRestore');
  private readonly stopping = new AbortController();
  private readonly end = Promise.withResolvers<undefined>();
  private running: Promise<void> | null = null;
  private detached = false;
  private writing: Promise<void> = Promise.resolve();
  /** The record as stored in the journal. Only this is reported, so that a restarted node never reports less. */
  private durable: VmRestoreRecord;

  constructor(
    private record: VmRestoreRecord,
    private readonly dependencies: VmRestoreDependencies,
  ) {
    this.durable = record;
    if (record.phase === 'done') this.end.resolve(undefined);
  }

  get request(): VmRestoreRecord['request'] {
    return this.record.request;
  }

  get finished(): boolean {
    return this.durable.phase === 'done';
  }

  /** Nothing else happens before this is durable. */
  async create(): Promise<void> {
    await this.dependencies.journal.write(this.record);
  }

  async report(): Promise<NodeVmRestoreReport> {
    const percents = new Map<string, number>();
    const { durable } = this;
    for (const [index, disk] of durable.disks.entries()) {
      if (disk.status === 'copying') percents.set(disk.disk_key, percentIn(await this.tail(index)));
    }
    return vmRestoreReport(durable, percents);
  }

  /** Runs the job until it ends. Never rejects. */
  run(): Promise<void> {
    this.running ??= this.runOnce();
    return this.running;
  }

  /** Stops the job and removes its domain and files, even if it has completed. */
  async discard(): Promise<void> {
    if (this.record.phase === 'working') {
      if (!this.record.cancel_requested) {
        await this.change({ cancel_requested: true });
        this.stopping.abort(new Stopping());
      }
      await this.running;
    }
    await this.end.promise;
    if (this.record.ending?.outcome !== 'completed') return;
    await this.change({ phase: 'undoing', ending: { outcome: 'cancelled' } });
    await this.takeBack();
    await this.change({ phase: 'done' });
  }

  /** Removes the working files that a completed job no longer needs. */
  async keep(): Promise<void> {
    await rm(this.workingFolder(), { recursive: true, force: true });
  }

  /** For a job that was already complete at a restart of the node: a VM that lives on exports of the hub still needs them. */
  resumeGuest(): void {
    if (this.durable.ending?.outcome !== 'completed' || this.request.storage_path !== null) return;
    this.dependencies.guestDisks.resume(this.request.job_id, this.guestDisks());
  }

  /** Leaves all processes running for the next start of the node. */
  detach(): void {
    this.detached = true;
    this.stopping.abort(new Stopping());
  }

  private async runOnce(): Promise<void> {
    const ending = this.record.ending ?? (await this.work());
    if (ending === null || this.record.phase === 'done') return;
    if (ending.outcome === 'completed') {
      await this.change({ phase: 'done', ending });
    } else {
      await this.change({ phase: 'undoing', ending });
      while (!(await this.undone())) {
        if (this.detached) return;
        await pause(UNDO_RETRY_MS);
      }
      await this.change({ phase: 'done', ending: this.record.ending, domain: null, disks: this.record.disks.map((disk) => ({ ...disk, file: null })) });
    }
    this.end.resolve(undefined);
  }

  /** null: detached. */
  private async work(): Promise<VmRestoreOutcome | null> {
    try {
      if (this.record.cancel_requested) throw new Stopping();
      const uuid = await this.checkDomain();
      if (this.request.storage_path !== null) {
        await this.checkStorage(this.request.storage_path);
        await this.makeDisks(this.request.storage_path);
      } else {
        await Promise.all(this.request.disks.map(async (disk, index) => this.checkExport(disk, await this.reachedExport(disk.uri, index))));
        await this.dependencies.guestDisks.open(this.request.job_id, this.guestDisks(), this.stopping.signal);
        for (const { disk_key } of this.request.disks) await this.changeDisk(disk_key, { status: 'completed', percent: 100 });
      }
      this.stopping.signal.throwIfAborted();
      await this.define(uuid);
      return { outcome: 'completed' };
    } catch (error) {
      if (this.detached) return null;
      if (this.record.cancel_requested) return { outcome: 'cancelled' };
      const failure = failureOf(error);
      if (failure.code === 'internal_error') this.logger.error('a VM restore failed unexpectedly', { job_id: this.request.job_id, error });
      return { outcome: 'failed', error: failure };
    }
  }

  /** @returns the uuid of the new domain. @throws DomainError domain_exists, definition_broken */
  private async checkDomain(): Promise<string> {
    const { name, job_id: jobId } = this.request;
    const { uuid } = this.rewritten();
    for (const known of await this.dependencies.domains.list()) {
      if (known.name !== name && known.uuid !== uuid) continue;
      if (known.uuid === uuid && known.name === name && (await this.dependencies.domains.jobOf(uuid)) === jobId) continue;
      const what = known.name === name ? `a domain "${name}"` : `the domain "${known.name}" of uuid ${uuid}`;
      throw new DomainError('conflict', 'domain_exists', `The node already has ${what}. Choose another name, or do not keep the identity.`, { name, uuid });
    }
    return uuid;
  }

  private rewritten(): RewrittenDefinition & { readonly uuid: string } {
    const { definition, disks, storage_path: storagePath } = this.request;
    try {
      const uuid = this.request.uuid ?? uuidInDefinition(definition.text);
      if (uuid === null) throw new DomainError('invalid', 'definition_broken', 'The definition has no uuid to keep.');
      const places = new Map(
        disks.map(({ disk_key, uri, file_name }, index): [string, RestoredDisk] => {
          if (storagePath !== null) return [disk_key, { kind: 'file', path: join(storagePath, file_name ?? '') }];
          const socket = this.dependencies.guestDisks.socket(this.request.job_id, index);
          return [disk_key, { kind: 'nbd', socket, exportName: parseExportUri(uri).exportName }];
        }),
      );
      const { name, network } = this.request;
      return {
        uuid,
        ...restoredDomain(definition.text, {
          name,
          uuid,
          keepIdentity: this.request.keep_identity,
          jobId: this.request.job_id,
          disks: places,
          network,
          libvirtNetwork: this.request.libvirt_network,
        }),
      };
    } catch (error) {
      if (error instanceof WrongShapeError) throw new DomainError('invalid', 'definition_broken', `The definition of the VM cannot be used: ${error.message}.`);
      throw error;
    }
  }

  private async reachedExport(uri: string, index: number): Promise<string> {
    return reachedExport(uri, this.dependencies.journal.keyFile(this.request.job_id, index), this.dependencies.tunnelDirectory);
  }

  private guestDisks(): readonly GuestDisk[] {
    return this.request.disks.map(({ uri }, index) => ({ uri, keyFile: this.dependencies.journal.keyFile(this.request.job_id, index) }));
  }

  private async checkExport({ disk_key, size_bytes }: VmRestoreRecord['request']['disks'][number], uri: string): Promise<void> {
    const size = await this.sizeOf(uri).catch((error: unknown) => {
      if (!(error instanceof ToolError) || error.code === 'tool_missing') throw error;
      throw new DomainError('unavailable', 'export_unreachable', `The node cannot read disk ${disk_key} at ${uri}: ${error.stderrTail.trim()}`, { disk_key });
    });
    if (size !== size_bytes)
      throw new DomainError('conflict', 'export_differs', `Disk ${disk_key} at ${uri} has ${size} bytes instead of ${size_bytes}.`, { disk_key });
  }

  /** @throws ToolError if the export stays unreachable beyond the patience for network losses */
  private async sizeOf(uri: string): Promise<number> {
    const ends = performance.now() + this.dependencies.patienceSeconds * 1000;
    return retry(() => this.dependencies.nbdInfo.size(uri, NBD_DEADLINE_MS), {
      signal: this.stopping.signal,
      firstMs: RETRY_MS,
      onFailure: (error) => {
        if (!(error instanceof ToolError) || error.code === 'tool_missing' || performance.now() > ends) throw error;
      },
    });
  }

  private async checkStorage(path: string): Promise<void> {
    const refuse = (code: string, what: string): never => {
      throw new DomainError('invalid', code, what, { storage_path: path });
    };
    const found = await stat(path).catch((error: unknown) => {
      if (errnoOf(error) === null) throw error;
      return null;
    });
    if (found?.isDirectory() !== true) return refuse('storage_path_missing', `There is no folder "${path}" on the node. Create it first, or choose another.`);
    const real = `${await realpath(path)}/`;
    const roots = await Promise.all(this.dependencies.storageRoots().map((root) => realpath(root).catch(() => root)));
    if (!roots.some((root) => real.startsWith(`${root.replace(/\/$/, '')}/`))) {
      refuse('storage_path_refused', `"${path}" is not below any folder to which the node may restore VMs (vm_storage_roots: ${roots.join(', ') || 'none'}).`);
    }
    for (const disk of this.request.disks) await this.refuseTaken(join(path, disk.file_name ?? ''), disk.file_name ?? '');
  }

  private async refuseTaken(path: string, name: string): Promise<void> {
    const there = await inodeOf(path);
    if (there === null || there === (await inodeOf(join(this.workingFolder(), name)))) return;
    throw new DomainError('conflict', 'target_exists', `The node already has "${path}". Move it away, or choose another name or folder.`, { file: path });
  }

  private async makeDisks(storagePath: string): Promise<void> {
    await mkdir(this.workingFolder(), { recursive: true, mode: 0o700 });
    const done = await Promise.allSettled(
      this.request.disks.map(async (disk, index) => {
        try {
          await this.makeDisk(disk, index);
        } catch (error) {
          // The remaining copies are pointless.
          this.stopping.abort(error);
          throw error;
        }
      }),
    );
    for (const disk of done) if (disk.status === 'rejected') throw this.stopping.signal.reason ?? disk.reason;
    for (const disk of this.request.disks) await this.publish(storagePath, disk.file_name ?? '', disk.disk_key);
    await syncToDisk(storagePath);
  }

  private async makeDisk(disk: VmRestoreRecord['request']['disks'][number], index: number): Promise<void> {
    if (this.record.disks[index]?.status === 'completed') return;
    await this.dependencies.slots(async () => {
      this.stopping.signal.throwIfAborted();
      const file = join(this.workingFolder(), disk.file_name ?? '');
      const uri = await this.reachedExport(disk.uri, index);
      await this.checkExport(disk, uri);
      await this.changeDisk(disk.disk_key, { status: 'copying' });
      await this.program(index, 'convert', convertNbdArgv(uri, file, this.dependencies.patienceSeconds), [0]);
      await this.changeDisk(disk.disk_key, { status: 'comparing', percent: 100 });
      await syncToDisk(file);
      if ((await this.program(index, 'compare', compareNbdArgv(uri, file, this.dependencies.patienceSeconds), [0, 1])) !== 0) {
        throw new DomainError('conflict', 'restored_content_differs', `The data written for disk ${disk.disk_key} differs from the restore point.`, {
          disk_key: disk.disk_key,
        });
      }
      await this.changeDisk(disk.disk_key, { status: 'completed' });
    });
  }

  private async program(index: number, what: 'convert' | 'compare', argv: readonly [string, ...string[]], expected: readonly number[]): Promise<number> {
    const directory = this.dependencies.journal.programDirectory(this.request.job_id, index, what);
    const before = await this.dependencies.supervisor.status(directory);
    // Its outcome is unknown: it ended with its machine, so its output cannot be trusted.
    if (before.state === 'exited' && before.exitCode === null) await this.dependencies.supervisor.forget(directory);
    // The storage path may be below other accounts' folders.
    await this.dependencies.supervisor.start(directory, argv, { rights: 'files' });
    const { exitCode, stderr } = await this.dependencies.supervisor.waitForExit(directory, this.stopping.signal);
    if (exitCode !== null && expected.includes(exitCode)) return exitCode;
    const said = stderr.trim().split('\n').slice(-3).join('; ');
    if (NO_SPACE.test(stderr)) throw new DomainError('storage_full', 'target_full', `The storage path ran out of space: ${said}`);
    if (exitCode === 127) throw new DomainError('unavailable', 'tool_missing', `${argv[0]} is not installed on the node.`);
    throw new DomainError(
      'conflict',
      'copy_failed',
      `${argv[0]} ${what} ended with ${exitCode === null ? 'an unknown code' : `exit code ${exitCode}`}: ${said}`,
    );
  }

  /** A hard link never replaces a file, so one that has appeared in the meantime is safe. */
  private async publish(storagePath: string, name: string, diskKey: string): Promise<void> {
    const path = join(storagePath, name);
    await this.refuseTaken(path, name);
    if ((await inodeOf(path)) === null) {
      await link(join(this.workingFolder(), name), path).catch((error: unknown) => {
        const errno = errnoOf(error);
        if (errno === 'EEXIST')
          throw new DomainError('conflict', 'target_exists', `"${path}" was created by another program while the restore was running.`, { file: path });
        if (errno === null) throw error;
        throw new DomainError(
          'conflict',
          'storage_path_unfit',
          `"${path}" could not be given its name by a hard link (${errno}). Choose a file system that supports hard links.`,
        );
      });
    }
    await this.changeDisk(diskKey, { file: path });
  }

  private async define(uuid: string): Promise<void> {
    const { domains, journal } = this.dependencies;
    const { xml, changes } = this.rewritten();
    const folder = journal.runDirectory(this.request.job_id);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeFile(join(folder, 'domain.xml'), xml, { mode: 0o600 });
    await this.change({ defining: true });
    // A domain that was already defined, and possibly started, before a restart is left alone.
    if ((await domains.jobOf(uuid)) !== this.request.job_id) await domains.define(join(folder, 'domain.xml'));
    await this.change({ domain: { name: this.request.name, uuid }, changes });
    if (!this.request.start || (await domains.state(uuid)) === 'running') return;
    try {
      await domains.start(uuid);
    } catch (error) {
      // The VM is complete; the cause, for example a missing network, can be fixed without another restore.
      await this.change({ start_error: failureOf(error) });
    }
  }

  private async undone(): Promise<boolean> {
    try {
      await this.takeBack();
      return true;
    } catch (error) {
      this.logger.error('the results of a VM restore could not be removed; retrying', { job_id: this.request.job_id, error });
      return false;
    }
  }

  /** Processes first, because they would create their files again. */
  private async takeBack(): Promise<void> {
    const { domains, journal, supervisor, guestDisks } = this.dependencies;
    for (const directory of await journal.programDirectories(this.request.job_id)) await supervisor.stop(directory, STOP_GRACE_MS);
    const ours = this.record.defining ? (await domains.list()).filter(({ name }) => name === this.request.name) : [];
    for (const { uuid } of ours) if ((await domains.jobOf(uuid)) === this.request.job_id) await domains.remove(uuid);
    await guestDisks.close(this.request.job_id);
    const { storage_path: storagePath } = this.request;
    if (storagePath === null) return;
    for (const { file_name } of this.request.disks) {
      const made = await inodeOf(join(this.workingFolder(), file_name ?? ''));
      const path = join(storagePath, file_name ?? '');
      if (made !== null && made === (await inodeOf(path))) await unlink(path);
    }
    await rm(this.workingFolder(), { recursive: true, force: true });
  }

  private workingFolder(): string {
    return join(this.request.storage_path ?? '/nonexistent', `.sendense-restore-${this.request.job_id}`);
  }

  private async tail(index: number): Promise<string> {
    try {
      const file = await open(join(this.dependencies.journal.programDirectory(this.request.job_id, index, 'convert'), 'stdout'), 'r');
      try {
        const { size } = await file.stat();
        const { bytesRead, buffer } = await file.read(Buffer.alloc(PROGRESS_TAIL_BYTES), 0, PROGRESS_TAIL_BYTES, Math.max(0, size - PROGRESS_TAIL_BYTES));
        return buffer.subarray(0, bytesRead).toString('utf8');
      } finally {
        await file.close();
      }
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return '';
      throw error;
    }
  }

  private async changeDisk(diskKey: string, change: Partial<Omit<VmRestoreDisk, 'disk_key'>>): Promise<void> {
    await this.change(withRestoredDisk(this.record, diskKey, change));
  }

  private async change(change: Partial<VmRestoreRecord>): Promise<void> {
    this.record = { ...this.record, ...change };
    this.writing = this.writing
      .catch(() => undefined)
      .then(async () => {
        const { record } = this;
        await this.dependencies.journal.write(record);
        this.durable = record;
      });
    await this.writing;
  }
}

class Stopping extends Error {
  override readonly name = 'Stopping';
}

function failureOf(error: unknown): { readonly code: string; readonly detail: string } {
  if (error instanceof DomainError || error instanceof ToolError) return { code: error.code, detail: error.message };
  return { code: 'internal_error', detail: messageOf(error) };
}

/** Identifies a file on this machine; null: it does not exist. */
async function inodeOf(path: string): Promise<string | null> {
  const found = await ifThere(lstat(path, { bigint: true }));
  return found === null ? null : `${found.dev}:${found.ino}`;
}
