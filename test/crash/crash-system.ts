import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { allProjections } from '../../projections/all-projections.js';
import { socketDirectory } from '../../src/lib/process/socket-place.js';
import type { EventStore, RecordedEvent } from '../../src/hub/store/event-store/event-store.port.js';
import { EventStoreDbEventStore } from '../../src/hub/store/event-store/eventstoredb/eventstoredb-event-store.js';
import { PostgresEventStore } from '../../src/hub/store/event-store/postgres-event-store.js';
import { createPool, openDataSource } from '../../src/hub/store/postgres/postgres.module.js';
import { foldFromZero, type Projection } from '../../src/hub/store/postgres/projection-definition.js';
import { ProjectionTables } from '../../src/hub/store/postgres/projection-tables.js';
import { type ApiAnswer, HubSystem, until } from '../support/hub-system.js';
import { SlowCopies } from '../support/slow-copies.js';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const VM = 'crash vm';
/** What a hub needs at most to tidy up after a crash. */
const QUIET_PATIENCE_MS = 90_000;
const BACKUP_PATIENCE_MS = 90_000;

export interface BackupView {
  readonly backup_id: string;
  readonly backup_type: string;
  readonly status: string;
  readonly current_phase: string;
  readonly folder: string | null;
  readonly bytes_transferred: number;
  readonly error: { readonly code: string; readonly stage: string; readonly detail: string } | null;
  readonly disk_results: readonly {
    readonly disk_key: string;
    readonly change_id: string | null;
    readonly qcow2_path: string | null;
    readonly qemu_nbd_pid: number | null;
    readonly status: string;
  }[];
}

export interface StoredEvent {
  readonly stream: string;
  readonly category: string;
  readonly type: string;
  readonly causation_id: string;
  readonly time: string;
  readonly recorded_at: string;
  readonly position: string;
  readonly data: Record<string, unknown>;
}

export interface CrashSystemOptions {
  /** null: the hub's own PostgreSQL, in its data directory. */
  readonly databaseUrl: string | null;
  readonly disks?: number;
  readonly diskMib?: number;
  /** Random data at the start of each disk. */
  readonly dataMib?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** A hub, a node, a VM with QCOW2 disks and a repository, and what must be true of them after any crash. */
export class CrashSystem {
  private vmId = '';
  private repositoryId = '';
  private changes = 0;
  /** Backups that have ended and that nothing more is to happen to. */
  private readonly settled = new Set<string>();

  private constructor(
    readonly hub: HubSystem,
    private readonly options: Required<Omit<CrashSystemOptions, 'env'>>,
    private readonly copies: SlowCopies,
  ) {}

  static async create(options: CrashSystemOptions): Promise<CrashSystem> {
    const full = { disks: 2, diskMib: 64, dataMib: 8, ...options };
    const hub = await HubSystem.create({
      databaseUrl: full.databaseUrl,
      env: {
        SENDENSE_CHAIN_MAX_LENGTH: '1000',
        ...full.env,
      },
    });
    const system = new CrashSystem(hub, full, await SlowCopies.create(join(hub.directory, 'tools')));
    await mkdir(system.vmFolder);
    await Promise.all(Array.from({ length: full.disks }, (_, index) => system.makeDisk(index)));
    return system;
  }

  get vmFolder(): string {
    return join(this.hub.imageRoot, VM);
  }

  /** The variables that every start of this system's hub needs. */
  async start(env: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.hub.start({ PATH: this.copies.path, ...env });
  }

  /** Registers VM and repository. */
  async register(): Promise<void> {
    const repository = await this.hub.api<{ repository_id: string }>('POST', '/repositories', { name: 'main', type: 'local', path: this.hub.repositoryPath });
    this.repositoryId = expectStatus(repository, 201).repository_id;
    const vm = await until('the VM to be registered', async () => {
      const answer = await this.hub.api<{ vm_id: string }>('POST', '/vms', { name: VM, source: 'image', source_ref: this.vmFolder });
      return answer.status === 201 ? answer.body : null;
    });
    this.vmId = vm.vm_id;
  }

  /** Asks for a backup; null when the hub went away before it answered. A node that is just being started again is waited for. */
  async request(backupType: 'full' | 'incremental', key: string = randomUUID()): Promise<ApiAnswer<BackupView & { code?: string; backup_id?: string }> | null> {
    for (const ends = performance.now() + BACKUP_PATIENCE_MS; ;) {
      try {
        const answer = await this.hub.api<BackupView>(
          'POST',
          '/backups',
          { vm_id: this.vmId, repository_id: this.repositoryId, backup_type: backupType },
          { 'idempotency-key': key },
        );
        if (answer.status < 500 || performance.now() > ends) return answer;
      } catch {
        return null;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async backup(backupId: string): Promise<BackupView> {
    return expectStatus(await this.hub.api<BackupView>('GET', `/backups/${backupId}`), 200);
  }

  async ended(backupId: string): Promise<BackupView> {
    return until(
      `backup ${backupId} to end`,
      async () => {
        const backup = await this.backup(backupId);
        return ['completed', 'failed', 'cancelled'].includes(backup.status) ? backup : null;
      },
      BACKUP_PATIENCE_MS,
    );
  }

  /** An undisturbed backup, to its end and until nothing of it is left but the restore point. @throws Error when it does not complete, or leaves anything */
  async takeBackup(backupType: 'full' | 'incremental'): Promise<BackupView> {
    const answer = await this.request(backupType);
    if (answer?.status !== 202) throw new Error(`a ${backupType} was not taken on: ${JSON.stringify(answer?.body ?? null)}`);
    const backup = await this.ended(answer.body.backup_id);
    if (backup.status !== 'completed') throw new Error(`a ${backupType} did not complete: ${JSON.stringify(backup.error)}`);
    if (backup.backup_type !== backupType) throw new Error(`a ${backupType} became a ${backup.backup_type}`);
    await this.becomesQuiet();
    await this.requireIdentical(backup);
    return backup;
  }

  async allBackups(): Promise<readonly BackupView[]> {
    return expectStatus(await this.hub.api<{ backups: BackupView[] }>('GET', '/backups?limit=200'), 200).backups;
  }

  /** Position of the newest event; null in an empty store. */
  async head(): Promise<string | null> {
    const { projections } = expectStatus(await this.hub.api<{ projections: { head_position: string | null }[] }>('GET', '/projections'), 200);
    return projections[0]?.head_position ?? null;
  }

  /** Everything that was stored after this position, oldest first. */
  async eventsAfter(position: string | null): Promise<readonly StoredEvent[]> {
    const events: StoredEvent[] = [];
    const head = (await this.head()) ?? '';
    for (let cursor: string | null = ''; cursor !== null;) {
      const path = `/audit/events?order=oldest_first&limit=200&after=${head}${cursor === '' ? '' : `&cursor=${cursor}`}`;
      const page: { events: StoredEvent[]; next_cursor: string | null } = expectStatus(await this.hub.api('GET', path), 200);
      events.push(...page.events);
      cursor = page.next_cursor;
    }
    return events.filter((event) => position === null || event.position > position);
  }

  async eventsOf(backupId: string): Promise<readonly string[]> {
    const { events } = expectStatus(
      await this.hub.api<{ events: StoredEvent[] }>('GET', `/audit/events?order=oldest_first&limit=200&stream=backup-${backupId}`),
      200,
    );
    return events.map((event) => event.type);
  }

  /** Writes data, and zeroes over old data, at other places each time; and on every disk. */
  async changeDisks(): Promise<void> {
    this.changes += 1;
    const { diskMib } = this.options;
    await Promise.all(
      this.disks().map(async (disk, index) => {
        const at = (step: number): number => ((this.changes * 7 + index * 3 + step * 11) % (diskMib - 1)) * MIB + 4096;
        await run('qemu-io', [
          '-f',
          'qcow2',
          '-c',
          `write -P ${1 + (this.changes % 250)} ${at(0)} 100k`,
          '-c',
          `write -P ${1 + ((this.changes + 9) % 250)} ${at(1)} 4k`,
          '-c',
          `write -z ${(this.changes % 4) * MIB} 128k`,
          disk,
        ]);
      }),
    );
  }

  /** @throws Error unless every disk of the restore point is byte for byte what the source is now */
  async requireIdentical(backup: BackupView): Promise<void> {
    if (backup.folder === null) throw new Error(`backup ${backup.backup_id} has no folder`);
    for (const [index, disk] of this.disks().entries()) {
      await run('qemu-img', ['compare', '-f', 'qcow2', '-F', 'qcow2', disk, join(this.hub.repositoryPath, backup.folder, `disk-${index}.qcow2`)]);
    }
  }

  /** Waits until nothing of any backup is left but what has to be. @throws Error that names what remains */
  async becomesQuiet(): Promise<void> {
    try {
      await until('the system to be quiet', () => this.isQuiet(), QUIET_PATIENCE_MS);
    } catch (error) {
      const remains: string[] = [];
      for (const look of await this.looks()) remains.push(...(await look()));
      throw new Error(`left behind (see ${this.hub.directory}): ${remains.join('; ')}`, { cause: error });
    }
  }

  /** Looks no further once something is found: what waits for it asks again at once, and the machine has the hub to run meanwhile. */
  private async isQuiet(): Promise<boolean> {
    for (const look of await this.looks()) if ((await look()).length > 0) return false;
    return true;
  }

  /** Where there may be something that should not be when no backup runs; the cheap and the likely first. */
  private async looks(): Promise<readonly (() => Promise<readonly string[]>)[]> {
    const backups = await this.allBackups();
    const unfinished = backups.filter(({ status }) => status === 'pending' || status === 'running');
    return [
      () => Promise.resolve(unfinished.map(({ backup_id, status }) => `backup ${backup_id} is ${status}`)),
      () => this.unsettled(backups),
      () => this.portsInUse(),
      () => this.strayRunDirectories(backups),
      () => this.strayFolders(backups),
      () => this.strayProcesses(),
      () => this.hub.mountRemains(),
      () => this.strayBitmaps(backups),
    ];
  }

  /** From now on each copy moves about so many bytes a second, also those under way; null: as fast as it can. */
  async slowCopies(bytesPerSecond: number | null): Promise<void> {
    await this.copies.limit(bytesPerSecond);
  }

  /** Pids of this system's processes of that name. */
  async pidsOf(name: string): Promise<readonly number[]> {
    const pids = await this.hub.leftoverPids();
    const named = await Promise.all(pids.map(async (pid) => ((await commOf(pid)) === name ? [pid] : [])));
    return named.flat();
  }

  /** Pids of the processes that copy disks, whichever tools they are. */
  async copyPids(): Promise<readonly number[]> {
    const converting = async (pid: number): Promise<boolean> => (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).includes('convert\0-p\0');
    const images = await this.pidsOf('qemu-img');
    const copies = await Promise.all(images.map(async (pid) => ((await converting(pid)) ? [pid] : [])));
    return [...(await this.pidsOf('nbdcopy')), ...copies.flat()];
  }

  /**
   * Waits until each disk is being copied, slowly, and gives the pids of the copying processes. What slows them has then loaded its plugin, so it has taken its option
   * to end with its parent: killed before, a copy would leave it behind for ever.
   */
  async copying(): Promise<readonly number[]> {
    return until('every disk to be copied', async () => {
      const pids = await this.copyPids();
      const slowing = (await this.pidsOf('nbdkit')).filter((pid) => readFileSync(`/proc/${pid}/maps`, 'utf8').includes('rate-filter'));
      return pids.length === this.options.disks && slowing.length >= pids.length ? pids : null;
    });
  }

  async killNode(): Promise<void> {
    const pid = await this.hub.nodePid();
    process.kill(pid, 'SIGKILL');
    await until('the node to be gone', async () => !(await this.hub.leftoverPids()).includes(pid));
  }

  /** Waits until a node answers to the hub. */
  async nodeComesBack(): Promise<void> {
    const url = join(this.nodeData, 'node.url');
    const token = (await readFile(join(this.hub.dataDirectory, 'node.token'), 'utf8')).trim();
    await until('the node to come back', async () => {
      const response = await fetch(`${(await readFile(url, 'utf8')).trim()}/api/v1/health`, { headers: { authorization: `Bearer ${token}` } });
      return response.ok;
    });
  }

  async destroy(): Promise<void> {
    await this.hub.destroy();
  }

  private get nodeData(): string {
    return join(this.hub.dataDirectory, 'local-node');
  }

  private disks(): readonly string[] {
    return Array.from({ length: this.options.disks }, (_, index) => join(this.vmFolder, `disk${index}.qcow2`));
  }

  private async makeDisk(index: number): Promise<void> {
    const raw = join(this.hub.directory, `disk${index}.raw`);
    const file = await open(raw, 'w');
    for (let written = 0; written < this.options.dataMib; written++) await file.write(randomBytes(MIB));
    await file.close();
    await truncate(raw, this.options.diskMib * MIB);
    await run('qemu-img', ['convert', '-O', 'qcow2', raw, join(this.vmFolder, `disk${index}.qcow2`)]);
    await rm(raw);
  }

  private async unsettled(backups: readonly BackupView[]): Promise<string[]> {
    const last = await Promise.all(
      backups.map(async ({ backup_id, status }) => {
        // What has ended and is settled stays so.
        if (this.settled.has(backup_id)) return [];
        const types = await this.eventsOf(backup_id);
        const missing = status === 'completed' ? !types.includes('ChangeTrackingSettled') : !types.includes('BackupUndone');
        const unsettled = types.includes('TransferRequested') && !types.includes('ChangeTrackingSettled');
        if (missing || unsettled) return [`backup ${backup_id} (${status}) is not settled: ${types.at(-1) ?? ''}`];
        this.settled.add(backup_id);
        return [];
      }),
    );
    return last.flat();
  }

  private async portsInUse(): Promise<string[]> {
    const { ports } = (await this.hub.api<{ ports: { port: number; state: string; job_id: string | null }[] }>('GET', '/nbd/ports?limit=200')).body;
    return ports.filter(({ state }) => state === 'allocated').map(({ port, job_id }) => `port ${port} is allocated to ${job_id ?? 'nobody'}`);
  }

  private async strayProcesses(): Promise<string[]> {
    const found = await Promise.all(
      (await this.hub.leftoverPids()).map(async (pid) => {
        const name = await commOf(pid);
        return /^(qemu-nbd|qemu-img|nbdcopy|nbdkit|nbdinfo|sh)$/.test(name) ? [`process ${name} ${pid}`] : [];
      }),
    );
    return found.flat();
  }

  private async strayRunDirectories(backups: readonly BackupView[]): Promise<string[]> {
    const places = [join(this.nodeData, 'run', 'backup-jobs'), join(this.nodeData, 'jobs')];
    const entries = await Promise.all(places.map(async (place) => (await namesIn(place)).map((name) => join(place, name))));
    const sockets = backups
      .map(({ backup_id }) => socketDirectory(join(this.nodeData, 'run', 'backup-jobs', backup_id, 'snapshot')))
      .filter((place) => existsSync(place));
    return [...(await this.hub.runRemains()), ...entries.flat(), ...sockets].map((path) => `directory ${path}`);
  }

  /** The repository must hold the completed backups, and nothing else. */
  private async strayFolders(backups: readonly BackupView[]): Promise<string[]> {
    const root = this.hub.repositoryPath;
    const vms = (await namesIn(root)).filter((name) => name !== '.sendense-repository.json');
    const found = (await Promise.all(vms.map(async (vm) => (await namesIn(join(root, vm))).map((point) => `${vm}/${point}`)))).flat();
    const wanted = backups.filter(({ status }) => status === 'completed').map(({ folder }) => folder ?? 'none');
    return [
      ...found.filter((folder) => !wanted.includes(folder)).map((folder) => `folder ${folder}`),
      ...wanted.filter((folder) => !found.includes(folder)).map((folder) => `no folder ${folder}`),
    ];
  }

  /** Each disk must carry exactly the change id of the newest restore point. */
  private async strayBitmaps(backups: readonly BackupView[]): Promise<string[]> {
    const head = backups.find(({ status }) => status === 'completed');
    const problems: string[] = [];
    for (const [index, disk] of this.disks().entries()) {
      const wanted = head?.disk_results[index]?.change_id ?? null;
      const names = await bitmapsOf(disk);
      if (names.join() !== (wanted === null ? '' : wanted))
        problems.push(`disk ${index} has bitmaps [${names.join()}], the chain's head has ${wanted ?? 'none'}`);
    }
    return problems;
  }
}

function expectStatus<Body>(answer: ApiAnswer<Body>, status: number): Body {
  if (answer.status !== status) throw new Error(`the hub answered ${answer.status} instead of ${status}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/** The rows of a read model and the position they stand at: rows and checkpoint are committed together, so they belong together where the checkpoint has not moved. */
async function standOf(tables: ProjectionTables, projection: Projection): Promise<{ readonly position: string; readonly checksum: string }> {
  return until(`a checksum of ${projection.name} between two of its batches`, async () => {
    const { position } = await tables.liveCheckpoint(projection);
    const checksum = await tables.checksum(projection);
    return (await tables.liveCheckpoint(projection)).position === position && { position: position ?? '', checksum };
  });
}

async function history(store: EventStore, head: string): Promise<readonly RecordedEvent[]> {
  const events: RecordedEvent[] = [];
  await new Promise<void>((resolve, reject) => {
    const subscription = store.subscribeToAll({
      after: null,
      handle: (batch) => {
        events.push(...batch.events);
        if (batch.upTo >= head) resolve();
        return Promise.resolve();
      },
    });
    subscription.ended.catch(reject);
  });
  return events.filter(({ position }) => position <= head);
}

async function bitmapsOf(disk: string): Promise<readonly string[]> {
  // Force-share: to look at it while a server still has it open must not fail.
  const { stdout } = await run('qemu-img', ['info', '-U', '--output=json', disk]);
  const info = JSON.parse(stdout) as { 'format-specific'?: { data?: { bitmaps?: { name: string }[] } } };
  return (info['format-specific']?.data?.bitmaps ?? []).map(({ name }) => name);
}

async function namesIn(folder: string): Promise<readonly string[]> {
  return existsSync(folder) ? readdir(folder) : [];
}

async function commOf(pid: number): Promise<string> {
  return (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim();
}

/** Waits until every read model has caught up, and compares it with a fold of the whole history. @throws Error that names those that differ */
export async function requireProjectionsOfFold(hub: HubSystem, databaseUrl: string): Promise<void> {
  const pool = createPool(databaseUrl, 3);
  const dataSource = await openDataSource(databaseUrl);
  const silent = { log: () => undefined, warn: () => undefined };
  const url = hub.settings['SENDENSE_EVENTSTOREDB_URL'];
  const store = url === undefined ? new PostgresEventStore(pool, silent) : new EventStoreDbEventStore({ url, caFile: '' }, silent);
  try {
    const head = (await store.head()) ?? '';
    await until('the projections to catch up', async () => {
      const { projections } = (await hub.api<{ projections: { name: string; position: string | null; state: string }[] }>('GET', '/projections')).body;
      const behind = projections.filter(({ position }) => (position ?? '') < head);
      if (behind.length > 0) throw new Error(`at ${head} these are behind: ${JSON.stringify(behind)}`);
      return true;
    });
    const tables = new ProjectionTables(dataSource);
    const stands = await Promise.all(allProjections.map(async (projection) => ({ projection, ...(await standOf(tables, projection)) })));
    const events = await history(
      store,
      stands.map(({ position }) => position).reduce((one, other) => (one > other ? one : other)),
    );
    const differing: string[] = [];
    for (const { projection, position, checksum } of stands) {
      const folded = foldFromZero(
        projection,
        events.filter((event) => event.position <= position && (projection.categories?.some((category) => event.stream.startsWith(`${category}-`)) ?? true)),
      );
      if (checksum !== (await tables.checksumOf(projection, folded))) differing.push(projection.name);
    }
    if (differing.length > 0) throw new Error(`read models differ from a fold from zero: ${differing.join(', ')}`);
  } finally {
    await store.close();
    await pool.end();
    await dataSource.destroy();
  }
}
