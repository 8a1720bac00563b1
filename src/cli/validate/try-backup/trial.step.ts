import { createReadStream, createWriteStream } from 'node:fs';
import { chmod, chown, lstat, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../../../kernel/error-message.js';
import { nbdUri, parseExportUri, PSK_FILE, PSK_USER } from '../../../lib/nbd/nbd-uri.js';
import { makeTemporaryDirectory } from '../../../lib/process/temporary-directory.js';
import { compareRawNbdArgv } from '../../../lib/qemu/disk-copy.plan.js';
import { wayToExport } from '../../../tunnel/interface/tunnel-sockets.js';
import { runTool } from '../../../lib/process/run-tool.js';
import { type Backup, endingOf, hasEnded, type Repository, type RestoreExport, type StoredEvent, type Vm } from '../../api/answers.js';
import { type HubApi, HubRefusalError } from '../../api/hub-api.client.js';

export interface TrialOptions {
  readonly hub: HubApi;
  /** Node whose image roots are on this machine. */
  readonly nodeId: string;
  readonly imageRoots: readonly string[];
  /** The owner of this directory must be able to use the trial's files on the node. */
  readonly nodeDirectory: string;
  /** A directory of the hub on this machine, for the trial's own repository; null: the hub is on another machine. */
  readonly hubDirectory: string | null;
  /** Name of an existing repository to use instead. */
  readonly repository: string | null;
  /** Used in the names of everything the trial creates. */
  readonly name: string;
  /** Of the tunnel that forwards the hub's NBD ports, if there is one. */
  readonly tunnelDirectory: string;
  readonly signal: AbortSignal;
}

/** Random content, so that the copy skips nothing. */
export const TRIAL_DISK_BYTES = 64 * 1024 ** 2;
const POLL_MS = 100;
/** Other backups may be running, which is not a fault. */
const QUEUE_PATIENCE_MS = 30_000;
const BACKUP_PATIENCE_MS = 300_000;
const REMOVAL_PATIENCE_MS = 60_000;
const TOOL_MS = 300_000;
/** For starting a backup, which is answered once its exports are ready, and for an export. */
const COMMAND_MS = 120_000;

/** Error codes of a hub whose database does not accept writes; errors it cannot classify are internal errors. */
const STORE_CODES: ReadonlySet<string> = new Set(['storage_unavailable', 'internal_error']);

/** An event that the hub reports as recorded is missing. */
class MissingEventError extends Error {
  override readonly name = 'MissingEventError';
}

/** The trial cannot be run here; not a fault of the installation. */
export class TrialImpossibleError extends Error {
  override readonly name = 'TrialImpossibleError';
}

/** The hub is busy with other backups, or has no capacity for one more. */
export class TrialWaitsError extends Error {
  override readonly name = 'TrialWaitsError';
}

/** A tiny VM, its backup and its restore through the running hub and node, and the removal of all of them. */
export class Trial {
  private original: string | null = null;
  private repositoryId: string | null = null;
  private vmId: string | null = null;
  private obstacle: Error | null = null;
  private backupId: string | null = null;
  private uri: string | null = null;
  /** Cleanup actions, newest last. */
  private readonly undo: { readonly what: string; readonly by: () => Promise<void> }[] = [];

  constructor(private readonly options: TrialOptions) {}

  /**
   * Creates the VM, and the repository unless an existing one is used.
   * @returns the recorded event, read back from the store; null: another obstacle than the store, which backUp() then throws
   * @throws TrialImpossibleError; HubRefusalError when the store accepts nothing; Error
   */
  async record(): Promise<string | null> {
    try {
      return await this.made();
    } catch (error) {
      if (error instanceof TrialImpossibleError || error instanceof MissingEventError) throw error;
      if (error instanceof HubRefusalError && STORE_CODES.has(error.code)) throw error;
      this.obstacle = error instanceof Error ? error : new Error(String(error));
      return null;
    }
  }

  private async made(): Promise<string> {
    const { hub, name, nodeId } = this.options;
    this.repositoryId = await this.repository();
    const folder = await this.virtualMachine();
    const { vm_id: vmId } = await hub.call<Vm>('POST', '/vms', { name, source: 'image', source_ref: folder, node_id: nodeId }, COMMAND_MS);
    this.undo.push({ what: `VM "${name}"`, by: () => this.remove(`/vms/${vmId}`) });
    const stream = `vm-${vmId}`;
    const { events } = await hub.call<{ events: StoredEvent[] }>('GET', `/audit/streams/${stream}?limit=1`);
    const [first] = events;
    if (first === undefined) throw new MissingEventError(`the hub registered a VM, but its stream ${stream} is empty`);
    this.vmId = vmId;
    return `${first.type} of ${stream}`;
  }

  /** @returns milliseconds from the request to the completed restore point; null: nothing could be recorded. @throws HubRefusalError; Error with the failure */
  async backUp(): Promise<number | null> {
    const { hub, name } = this.options;
    if (this.obstacle !== null) throw this.obstacle;
    if (this.repositoryId === null || this.vmId === null) return null;
    const began = performance.now();
    const request = { vm_name: name, repository_id: this.repositoryId, backup_type: 'full' };
    const { backup_id } = await hub.call<Backup>('POST', '/backups', request, COMMAND_MS);
    this.undo.push({ what: `backup ${backup_id}`, by: () => this.removeBackup(backup_id) });
    const wait = { patienceMs: BACKUP_PATIENCE_MS, signal: this.options.signal };
    const ended = await hub.until(
      `/backups/${backup_id}`,
      (backup: Backup) => {
        if (backup.status === 'pending' && performance.now() - began > QUEUE_PATIENCE_MS) {
          throw new TrialWaitsError(`it has been waiting for ${backup.waiting_for ?? 'its turn'} for ${QUEUE_PATIENCE_MS / 1000} s`);
        }
        return hasEnded(backup);
      },
      wait,
    );
    if (ended.status !== 'completed') throw new Error(endingOf(ended));
    this.backupId = backup_id;
    return performance.now() - began;
  }

  /** Exports the disk of the restore point and compares it with the original. @returns false: there is no restore point. @throws Error when they differ */
  async restore(): Promise<boolean> {
    if (this.backupId === null || this.original === null) return false;
    const { hub } = this.options;
    const body = { backup_id: this.backupId, disk_index: 0, mode: 'read_only' };
    const { export_id, uri } = await hub.call<RestoreExport>('POST', '/restore/exports', body, COMMAND_MS);
    this.undo.push({ what: `export ${export_id}`, by: () => this.remove(`/restore/exports/${export_id}`) });
    if (uri === null) throw new Error(`export ${export_id} has no address`);
    this.uri = await this.reached(export_id, uri);
    // 1: they differ; standard output says where.
    const options = { deadlineMs: TOOL_MS, signal: this.options.signal, expectedExitCodes: [0, 1] };
    const { exitCode, stdout } = await runTool(compareRawNbdArgv(this.uri, this.original), options);
    if (exitCode !== 0) throw new Error(`the restored disk differs from the original: ${stdout.trim()}`);
    return true;
  }

  /** Reads the exported disk once. @returns bytes per second; null: there is no export */
  async throughput(): Promise<number | null> {
    if (this.uri === null) return null;
    const began = performance.now();
    await runTool(['nbdcopy', this.uri, 'null:'], { deadlineMs: TOOL_MS, signal: this.options.signal });
    return (TRIAL_DISK_BYTES / (performance.now() - began)) * 1000;
  }

  /** @returns how many things were removed, and those that could not be, each with the reason */
  async cleanUp(): Promise<{ readonly removed: number; readonly left: readonly string[] }> {
    const left: string[] = [];
    let removed = 0;
    for (const { what, by } of this.undo.reverse()) {
      try {
        await by();
        removed += 1;
      } catch (error) {
        left.push(`${what} (${messageOf(error)})`);
      }
    }
    return { removed, left };
  }

  /** The URI through which this machine reaches an export, including its key file. */
  private async reached(exportId: string, uri: string): Promise<string> {
    const folder = makeTemporaryDirectory('validate');
    this.undo.push({ what: folder, by: () => rm(folder, { recursive: true, force: true }) });
    const keyFile = join(folder, PSK_FILE);
    const { psk_file } = await this.options.hub.call<{ psk_file: string }>('GET', `/restore/exports/${exportId}/key`);
    await writeFile(keyFile, `${psk_file}\n`, { mode: 0o600 });
    const { place, exportName } = parseExportUri(uri.replace(`${PSK_USER}@`, ''));
    return nbdUri({ ...(await wayToExport(place, this.options.tunnelDirectory)), keyFile }, exportName);
  }

  private async repository(): Promise<string> {
    const { hub, hubDirectory, name, repository } = this.options;
    if (repository !== null) {
      const { repositories } = await hub.call<{ repositories: Repository[] }>('GET', `/repositories?name=${encodeURIComponent(repository)}`);
      const [found] = repositories;
      if (found === undefined) throw new Error(`the hub has no repository "${repository}"`);
      return found.repository_id;
    }
    if (hubDirectory === null) throw new TrialImpossibleError('the hub is on another machine: name one of its repositories with --repository');
    const path = await this.folder(hubDirectory, 'validate-repository-', hubDirectory);
    const { repository_id } = await hub.call<Repository>('POST', '/repositories', { name, type: 'local', path });
    this.undo.push({ what: `repository "${name}"`, by: () => this.remove(`/repositories/${repository_id}`) });
    return repository_id;
  }

  /** A directory with one disk, in the layout of the source `image`. */
  private async virtualMachine(): Promise<string> {
    const root = await this.imageRoot();
    const here = makeTemporaryDirectory('validate');
    this.undo.push({ what: here, by: () => rm(here, { recursive: true, force: true }) });
    const original = join(here, 'original.raw');
    await pipeline(createReadStream('/dev/urandom', { end: TRIAL_DISK_BYTES - 1 }), createWriteStream(original));
    const folder = await this.folder(root, `${this.options.name}-`, this.options.nodeDirectory);
    const disk = join(folder, 'disk0.qcow2');
    await runTool(['qemu-img', 'convert', '-q', '-f', 'raw', '-O', 'qcow2', original, disk], { deadlineMs: TOOL_MS });
    await giveTo(disk, this.options.nodeDirectory);
    this.original = original;
    return folder;
  }

  private async imageRoot(): Promise<string> {
    for (const root of this.options.imageRoots) {
      const found = await stat(root).catch(() => null);
      if (found?.isDirectory() === true) return root;
    }
    throw new TrialImpossibleError(`none of the node's image_roots exists here (${this.options.imageRoots.join(', ')}); create one of them to try a backup`);
  }

  /** A new directory with the same owner as `like`. */
  private async folder(parent: string, prefix: string, like: string): Promise<string> {
    const path = await mkdtemp(join(parent, prefix));
    this.undo.push({ what: path, by: () => rm(path, { recursive: true, force: true }) });
    await chmod(path, 0o755);
    await giveTo(path, like);
    return path;
  }

  private async removeBackup(backupId: string): Promise<void> {
    const { hub } = this.options;
    const { status } = await hub.call<Backup>('GET', `/backups/${backupId}`);
    if (status === 'pending' || status === 'running') await hub.call('POST', `/backups/${backupId}/cancel`);
    await this.remove(`/backups/${backupId}`);
  }

  /** Retries while the object is still in use. */
  private async remove(path: string): Promise<void> {
    for (const ends = performance.now() + REMOVAL_PATIENCE_MS; ;) {
      try {
        await this.options.hub.call('DELETE', path);
        return;
      } catch (error) {
        if (error instanceof HubRefusalError && error.status === 404) return;
        if (!(error instanceof HubRefusalError) || error.status !== 409 || performance.now() > ends) throw error;
      }
      await pause(POLL_MS);
    }
  }
}

async function giveTo(path: string, like: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = await lstat(like);
  await chown(path, uid, gid);
}
