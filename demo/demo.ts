import { existsSync } from 'node:fs';
import { access, chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import type { StreamEventResponse } from '../src/hub/operations/http/event-history.js';
import type { ChainResponse } from '../src/hub/backup/backups/get-chain/get-chain.dto.js';
import type { BackupResponse } from '../src/hub/backup/backups/model/backup.response.js';
import type { VmResponse } from '../src/hub/backup/vms/model/vm.response.js';
import { DemoHub, endEverythingOf, removeDirectory } from './demo-hub.js';
import { Month } from './month.js';
import { type DiskProgress, ProgressView } from './progress-view.js';
import { restoreFile } from './file-restore.js';
import { fileSystemIsClean, firstDifference, flatten, type KnownLine, lastLineIn, SampleVm } from './sample-vm.js';
import { seconds, size, table } from './text-layout.js';

const VM = 'pgtest1';
const PREFIX = 'sendense-demo-';
const CHECKOUT = join(import.meta.dirname, '../..');

const DAYS = 30;

const USAGE = `Usage: bin/demo [--keep] [--days N]
       bin/demo --end DIRECTORY

Backs up a VM with two disks, first full and then incremental, and compares what the backups restore with what the disks
held: whole disks, and single files browsed and downloaded through the hub. Mounting a disk for that needs root.
Then a policy backs up another VM for ${DAYS} days of a simulated clock, and what it does not keep is removed.
Everything happens in a temporary directory, which the demo removes when it ends.

  --days N          the days of the policy; 0 leaves it out. Default: ${DAYS}
  --keep            leave the hub running, and print commands to try
  --end DIRECTORY   stop a demo that was left running, and remove its directory
`;

/** One backup, and copies of the disks as they were at its instant. */
interface Taken {
  readonly backup: BackupResponse;
  readonly copies: ReadonlyMap<string, string>;
  readonly knownLine: KnownLine;
}

class Demo {
  private hub: DemoHub | null = null;
  private chapters = 0;

  constructor(
    private readonly directory: string,
    private readonly days: number,
  ) {}

  /** @returns whether every restored disk matches its source at the instant of the backup */
  async run(): Promise<boolean> {
    say('Sendense demo: back up a VM with two disks, change the disks, back up the changes,');
    say('and compare the restored data with the source byte for byte: whole disks, and single files.');

    this.chapter('A powered-off VM: a folder with two disk images, each with a file system');
    const vm = await SampleVm.create(join(this.directory, 'images', VM), join(this.directory, 'work'), join(CHECKOUT, 'src'));
    const overview = await vm.overview();
    say(
      table(
        ['disk', 'size', 'files', 'image file'],
        overview.map((disk) => [disk.file, size(disk.sizeBytes), String(disk.files), size(disk.imageBytes)]),
      ),
    );

    this.chapter('The hub, which controls and records, and its node, which reads the disks');
    const hub = await this.startHub();
    const { repository_id: repositoryId } = await this.register(hub, vm);

    this.chapter('The first backup: POST /api/v1/backups {"backup_type": "auto"}');
    const full = await this.backUp(hub, vm, repositoryId);

    this.chapter('Some hours later: files and blocks have changed on both disks');
    for (const change of await vm.change()) {
      say(`   ${change.file}: ${size(change.changedBytes)} differ, in blocks of 64 KiB`);
      for (const what of change.what) say(`     - ${what}`);
    }

    this.chapter('The second backup: the same request, which copies only the changes');
    const incremental = await this.backUp(hub, vm, repositoryId);

    this.chapter(`The chain: GET /api/v1/backups/chain?vm_name=${VM}`);
    await this.showChain(hub);

    this.chapter('What happened, event by event: GET /api/v1/backups/{id}/events');
    for (const { backup } of [full, incremental]) showHistory(backup, await hub.history(backup.backup_id));

    this.chapter("The proof: every disk, flattened by qemu-img from the repository's files, against the copy of its source");
    if (!(await this.prove([full, incremental]))) return false;

    this.chapter("Single files of the incremental: mounted, browsed and downloaded through the hub's API, and compared with copies of their sources");
    if (!(await this.restoreFiles(hub, vm, incremental))) return false;
    if (this.days === 0) return true;

    this.chapter(`A policy at work: ${this.days} days of another VM on another hub, whose clock is simulated`);
    await mkdir(this.month);
    await chmod(this.month, 0o711);
    return Month.show(this.month, this.days, say);
  }

  private get month(): string {
    return join(this.directory, 'month');
  }

  /** Prints commands for a newcomer to try while the hub keeps running. */
  async leaveRunning(): Promise<void> {
    const { hub } = this;
    if (hub === null) return;
    const url = await hub.url();
    await rm(join(this.directory, 'work'), { recursive: true });
    hub.leaveRunning();
    say('');
    say('The hub is still running. Its API page (any user name, and the token as password):');
    say(`   ${url}/api/docs`);
    say('');
    say('Commands to try, in this order:');
    say(`   HUB=${url}/api/v1`);
    say(`   TOKEN=$(cat ${hub.tokenFile})`);
    say(`   api() { curl -s -H @<(printf 'Authorization: Bearer %s\\n' "$TOKEN") -H "Content-Type: application/json" "$@"; }`);
    for (const line of [
      'api "$HUB/vms"',
      `api "$HUB/backups/chain?vm_name=${VM}"`,
      'api "$HUB/nbd/ports/metrics"',
      'api "$HUB/audit/events?type=RestorePointSealed"',
      ...this.mountExamples,
      `api -X POST "$HUB/backups" \\\n     -d '${JSON.stringify({ vm_name: VM, repository_id: this.repositoryId, backup_type: 'incremental' })}'`,
    ]) {
      say(`   ${line}`);
    }
    say('');
    say('To stop it and remove everything:');
    say(`   bin/demo --end ${this.directory}`);
  }

  async cleanUp(): Promise<void> {
    await this.hub?.stop();
    if (existsSync(this.month)) await endEverythingOf(this.month);
    await removeDirectory(this.directory);
  }

  private repositoryId = '';
  /** Empty if this machine cannot mount. */
  private mountExamples: readonly string[] = [];

  private async startHub(): Promise<DemoHub> {
    const begun = performance.now();
    const hub = await DemoHub.start(this.directory, join(this.directory, 'images'));
    this.hub = hub;
    say(`   ready after ${seconds(performance.now() - begun)}`);
    say(`   hub        ${await hub.url()}`);
    say(`   API page   ${await hub.url()}/api/docs`);
    say(`   log        ${join(this.directory, 'hub.log')}`);
    return hub;
  }

  private async register(hub: DemoHub, vm: SampleVm): Promise<{ readonly repository_id: string }> {
    const path = join(this.directory, 'repository');
    await mkdir(path);
    const repository = await hub.post<{ readonly repository_id: string }>('/repositories', { name: 'demo', type: 'local', path });
    this.repositoryId = repository.repository_id;
    say(`   repository ${path}`);
    const registered = await hub.post<VmResponse>('/vms', { name: VM, source: 'image', source_ref: vm.folder });
    const disks = registered.disks.map((disk) => `${disk.disk_id} = ${disk.disk_key}${disk.change_tracking ? ' (tracks changes)' : ''}`);
    say(`   VM         ${registered.name}, disks ${disks.join(', ')}`);
    return repository;
  }

  private async backUp(hub: DemoHub, vm: SampleVm, repositoryId: string): Promise<Taken> {
    const copies = await vm.copyTo(await mkdtemp(join(this.directory, 'work', 'instant-')));
    const knownLine = vm.knownLine();
    const begun = performance.now();
    const started = await hub.post<BackupResponse>('/backups', { vm_name: VM, repository_id: repositoryId, backup_type: 'auto' });
    say(`   answered after ${Math.round(performance.now() - begun)} ms: ${whichType(started)}`);
    const view = new ProgressView(process.stdout);
    for await (const { event, data } of hub.follow(started.backup_id)) {
      // `progress` carries the figures of every disk.
      if (event === 'progress') view.show((data as { readonly disks: readonly DiskProgress[] }).disks);
      if (event === 'BackupCompleted') say(`   completed after ${seconds(performance.now() - begun)}`);
    }
    const backup = await hub.get<BackupResponse>(`/backups/${started.backup_id}`);
    if (backup.status !== 'completed') throw new Error(`the backup ${backup.status}: ${JSON.stringify(backup.error)}`);
    say(`   ${size(backup.bytes_transferred)} copied, all disks as they were at ${backup.snapshot_instant ?? 'an unknown instant'}`);
    return { backup, copies, knownLine };
  }

  private async showChain(hub: DemoHub): Promise<void> {
    const chain = await hub.get<ChainResponse>(`/backups/chain?vm_name=${VM}`);
    const rows = chain.backups.flatMap((backup) =>
      backup.disk_results.map((disk, index) => [
        index === 0 ? backup.backup_type : '',
        index === 0 ? (backup.full_reason ?? 'changes since its parent') : '',
        disk.disk_key,
        size(disk.virtual_size_bytes),
        size(disk.size_bytes ?? 0),
        `${(disk.sha256 ?? '').slice(0, 12)}...`,
      ]),
    );
    say(table(['restore point', 'reason', 'disk', 'disk size', 'file size', 'SHA-256 of the file'], rows));
    say(`   ${chain.backup_count} restore points, ${size(chain.total_size_bytes)} in all`);
    for (const backup of chain.backups) say(`   ${backup.backup_type.padEnd(11)} ${join(this.directory, 'repository', backup.folder ?? '')}`);
  }

  private async prove(taken: readonly Taken[]): Promise<boolean> {
    let allSame = true;
    const restored = join(this.directory, 'work', 'restored.raw');
    for (const { backup, copies, knownLine } of taken) {
      for (const disk of backup.disk_results) {
        const copy = copies.get(disk.disk_key);
        if (copy === undefined) throw new Error(`the VM had no disk ${disk.disk_key}`);
        await flatten(disk.qcow2_path ?? '', restored);
        const difference = await firstDifference(restored, copy);
        const clean = await fileSystemIsClean(restored);
        let verdict = difference === null ? 'identical' : `DIFFERENT from byte ${difference} on`;
        verdict += clean ? ', file system clean' : ', file system DAMAGED';
        if (knownLine.file === disk.disk_key) {
          const found = await lastLineIn(restored, knownLine.path);
          const right = found === knownLine.lastLine;
          verdict += `, ${knownLine.path} ends with "${found}"${right ? '' : ', which is WRONG'}`;
          allSame &&= right;
        }
        allSame &&= difference === null && clean;
        say(
          `   ${difference === null && clean ? 'PASS' : 'FAIL'} ${backup.backup_type.padEnd(11)} ${disk.disk_key.padEnd(12)} ${size(disk.virtual_size_bytes).padEnd(7)} ${verdict}`,
        );
        await rm(restored);
      }
    }
    say('');
    say(allSame ? 'Both restore points contain exactly what the disks held.' : 'A restored disk does NOT match its source.');
    return allSame;
  }

  /** @returns false also if the machine cannot mount and a skipped check counts as a failure */
  private async restoreFiles(hub: DemoHub, vm: SampleVm, { backup, copies }: Taken): Promise<boolean> {
    let allSame = true;
    for (const { disk, path } of vm.changedFiles()) {
      const restore = await restoreFile(hub, backup, { diskKey: disk, path, copy: copies.get(disk) ?? '' }, join(this.directory, 'work'), say);
      if (restore.outcome === 'cannot_mount') return cannotMount(restore.reason);
      allSame &&= restore.outcome === 'same';
    }
    say('');
    say(allSame ? 'The downloaded files match the VM at the instant of the incremental.' : 'A downloaded file does NOT match its source.');
    const [{ disk, path } = { disk: '', path: '' }] = vm.changedFiles();
    const diskId = backup.disk_results.find(({ disk_key }) => disk_key === disk)?.disk_id ?? 0;
    this.mountExamples = examplesOfMount(backup.backup_id, diskId, path);
    return allSame;
  }

  private chapter(title: string): void {
    this.chapters += 1;
    say('');
    say(`${this.chapters}. ${title}`);
  }
}

/** The steps of the last chapter as commands: mount, browse, download, release. */
function examplesOfMount(backupId: string, diskId: number, path: string): readonly string[] {
  return [
    `MOUNT=$(api -X POST "$HUB/restore/mount" \\\n     -d '${JSON.stringify({ backup_id: backupId, disk_index: diskId })}' | grep -o '"mount_id":"[^"]*"' | cut -d '"' -f 4)`,
    `api "$HUB/restore/$MOUNT/files?path=${dirname(path)}"`,
    `api "$HUB/restore/$MOUNT/download?path=${path}" | tail -n 3`,
    'api -X DELETE "$HUB/restore/$MOUNT"',
  ];
}

/** @returns whether the demo may pass without this check; in CI a skipped check proves nothing */
function cannotMount(reason: string): boolean {
  const inCi = process.env['CI'] === 'true';
  say(`   NOT SHOWN${inCi ? ', which fails under CI=true' : ''}: ${reason}`);
  say('   To see it, run bin/demo as root (sudo bin/demo) on a machine with /dev/fuse and loop devices, or with the kernel module nbd (modprobe nbd).');
  say('   In a container: start it with --privileged, or run it on the host. Restoring whole disks needs none of this.');
  return !inCi;
}

function whichType(backup: BackupResponse): string {
  if (backup.backup_type === 'full')
    return `a full, because: ${backup.full_reason ?? ''}${backup.full_reason_detail === null ? '' : ` (${backup.full_reason_detail})`}`;
  return `an ${backup.backup_type} on ${backup.parent_backup_id ?? ''}`;
}

function showHistory(backup: BackupResponse, events: readonly StreamEventResponse[]): void {
  const begun = Date.parse(events[0]?.time ?? '');
  say(`   ${backup.backup_type} ${backup.backup_id}`);
  say(
    table(
      ['ms', 'event', 'facts'],
      events.map((event) => [String(Date.parse(event.time) - begun), event.type, factsOf(event)]),
      '     ',
    ),
  );
}

/** The members of an event that matter most to a reader; `GET .../events` has all of them. */
function factsOf({ data }: StreamEventResponse): string {
  const telling = [
    'backup_type',
    'full_reason',
    'waiting_for',
    'disk_id',
    'nbd_port',
    'instant',
    'bytes_transferred',
    'total_bytes',
    'outcome',
    'folder',
    'code',
    'detail',
  ];
  return telling.flatMap((name) => (typeof data[name] === 'string' || typeof data[name] === 'number' ? [`${name}=${data[name]}`] : [])).join(' ');
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** @throws Error for a directory that no demo created */
async function endKept(directory: string): Promise<void> {
  if (!basename(directory).startsWith(PREFIX)) throw new Error(`${directory} is not a demo directory: the name of one begins with ${PREFIX}`);
  await access(join(directory, 'hub.log'));
  await endEverythingOf(directory);
  await removeDirectory(directory);
  say(`${directory} was removed, and all its processes have ended.`);
}

async function main(): Promise<number> {
  let keep: boolean;
  let days: number;
  try {
    const { values } = parseArgs({
      options: { keep: { type: 'boolean' }, days: { type: 'string', default: String(DAYS) }, end: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
    });
    if (values.help === true) {
      process.stdout.write(USAGE);
      return 0;
    }
    if (values.end !== undefined) {
      await endKept(values.end);
      return 0;
    }
    keep = values.keep === true;
    if (!/^\d{1,3}$/.test(values.days)) throw new Error('--days is a number of days, such as 30');
    days = Number(values.days);
  } catch (error) {
    process.stderr.write(`bin/demo: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return 2;
  }

  const directory = await mkdtemp(join(tmpdir(), PREFIX));
  // PostgreSQL, which a hub run by root starts as another user, must be able to traverse the directory.
  await chmod(directory, 0o711);
  const demo = new Demo(directory, days);
  const interrupted = new Promise<never>((_resolve, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => reject(new Error(`stopped by ${signal}`)));
  });
  let kept = false;
  try {
    const same = await Promise.race([demo.run(), interrupted]);
    if (keep) {
      await demo.leaveRunning();
      kept = true;
    }
    return same ? 0 : 1;
  } catch (error) {
    process.stderr.write(`\nThe demo failed: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  } finally {
    if (!kept) await demo.cleanUp();
  }
}

process.exit(await main());
