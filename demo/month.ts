import { randomBytes } from 'node:crypto';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { setTimeout as pause } from 'node:timers/promises';
import { execa } from 'execa';
import type { ChainResponse } from '../src/hub/backup/backups/get-chain/get-chain.dto.js';
import type { BackupResponse } from '../src/hub/backup/backups/model/backup.response.js';
import type { OccurrenceResponse } from '../src/hub/backup/policies/model/occurrence.response.js';
import type { PolicyResponse } from '../src/hub/backup/policies/model/policy.response.js';
import type { PolicyPreviewResponse } from '../src/hub/backup/policies/preview-policy/preview-policy.dto.js';
import { DemoHub } from './demo-hub.js';
import { firstDifference, flatten } from './sample-vm.js';
import { seconds, size, table } from './text-layout.js';

const VM = 'shop-db';
const DISK = 'data.qcow2';
const MIB = 1024 * 1024;
const DISK_BYTES = 32 * MIB;
const DAY_MS = 86_400_000;
const EVENING_HOUR = 22;
/** Shorter than a day, so that what expires on one evening is removed on the next. */
const GRACE_SECONDS = 12 * 3600;
const PATIENCE_MS = 120_000;
const LOOK_MS = 50;
/** Between the decision that a restore point stays for now and the request to prune it there is a moment. */
const QUIET_LOOKS = 4;
/** From noon to the evening. */
const NOON_MS = 10 * 3_600_000;
const COMMAND_LINE = join(import.meta.dirname, '../src/cli/main.cli.js');

/** A restore point, and a copy of the disk as it was that evening. */
interface Evening {
  readonly backupId: string;
  readonly at: Date;
  readonly copy: string;
}

/** A policy at work for many days on a hub of its own, whose clock is set from evening to evening. */
export class Month {
  private readonly evenings: Evening[] = [];
  /** As the last look showed them. */
  private backups: readonly BackupResponse[] = [];
  private vmId = '';
  private policyId = '';

  private constructor(
    private readonly directory: string,
    private readonly hub: DemoHub,
    private readonly say: (line: string) => void,
  ) {}

  /** @param directory removed by the caller @returns whether every restore point that is left holds what the disk held that evening */
  static async show(directory: string, days: number, say: (line: string) => void): Promise<boolean> {
    for (const each of ['images', 'repository', 'copies']) await mkdir(join(directory, each), { recursive: true });
    const clockFile = join(directory, 'clock');
    await writeFile(clockFile, '0');
    const hub = await DemoHub.start(directory, join(directory, 'images'), {
      NODE_OPTIONS: `--import=${pathToFileURL(join(import.meta.dirname, 'simulated-clock.js')).href}`,
      DEMO_CLOCK_FILE: clockFile,
      SENDENSE_EXPIRY_GRACE_SECONDS: String(GRACE_SECONDS),
      // An EventStoreDB serves one hub.
      SENDENSE_EVENT_STORE: 'postgres',
    });
    try {
      return await new Month(directory, hub, say).run(days);
    } finally {
      await hub.stop();
    }
  }

  private async run(days: number): Promise<boolean> {
    const { say } = this;
    await this.prepare();
    say('   Simulated: the clock of this hub and its node, which the demo sets from evening to evening.');
    say('   Real: the runs of the policy and their backups, what it lets expire, and the files that are rewritten and removed for that.');
    say('');
    const first = new Date();
    first.setUTCHours(EVENING_HOUR, 0, 0, 0);
    if (first.getTime() < Date.now()) first.setTime(first.getTime() + DAY_MS);
    const begun = performance.now();
    for (let day = 0; day < days; day++) await this.evening(new Date(first.getTime() + day * DAY_MS), day);
    say('');
    say(`   ${days} evenings in ${seconds(performance.now() - begun)}`);
    say('');
    return this.prove();
  }

  private async prepare(): Promise<void> {
    const folder = join(this.directory, 'images', VM);
    await mkdir(folder);
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', this.image, String(DISK_BYTES)]);
    await this.write(0, 8 * MIB);
    const { repository_id } = await this.hub.post<{ readonly repository_id: string }>('/repositories', {
      ...{ name: 'month', type: 'local', path: join(this.directory, 'repository') },
    });
    this.vmId = (await this.hub.post<{ readonly vm_id: string }>('/vms', { name: VM, source: 'image', source_ref: folder })).vm_id;
    const { policy_id } = await this.hub.post<PolicyResponse>('/policies', {
      ...{ name: 'nightly', time_zone: 'UTC', schedule: `daily at ${EVENING_HOUR}:00`, repository_id },
      ...{ include: [{ by: 'name', value: 'shop-*' }], retention: { keep_last: 2, keep_daily: 5, keep_weekly: 3 } },
    });
    this.policyId = policy_id;
    const { sentence } = await this.hub.get<PolicyPreviewResponse>(`/policies/${policy_id}/preview`);
    for (const one of sentence.split(/(?<=\.) /)) this.say(`   ${one}`);
  }

  /** Changes the disk, sets the clock, and waits for the run of the policy, and for what it lets expire. */
  private async evening(at: Date, day: number): Promise<void> {
    if (day > 0) await this.write(((day * 5) % 28) * MIB, 2 * MIB);
    const copy = join(this.directory, 'copies', `${day}.raw`);
    await flatten(this.image, copy);
    const before = this.backups;
    if (day > 0) {
      // What has expired the evening before is removed when its period of grace ends, long before the next backup.
      await this.setClock(new Date(at.getTime() - NOON_MS));
      await this.settled(at);
    }
    await this.setClock(at);
    const backup = await this.backedUp(at);
    this.evenings.push({ backupId: backup.backup_id, at, copy });
    this.backups = await until('the retention to be applied', async () => {
      const backups = await this.allBackups();
      return backups.some(({ backup_id, tiers }) => backup_id === backup.backup_id && tiers.length > 0) ? backups : null;
    });
    const type = `${backup.backup_type.padEnd(11)}  ${size(sizeOf(backup)).padEnd(8)}`;
    this.say(`   ${dateOf(at)}  ${type}  ${this.newsSince(before)}`.trimEnd());
  }

  /** @returns the backup that the run of that evening has made, once nothing more is to be done for it */
  private async backedUp(at: Date): Promise<BackupResponse> {
    const due = at.toISOString();
    const run = await until('the run of the policy', async () => {
      const { occurrences } = await this.hub.get<{ readonly occurrences: readonly OccurrenceResponse[] }>(`/policies/${this.policyId}/occurrences`);
      return occurrences.find(({ due_at, finished_at }) => due_at === due && finished_at !== null) ?? null;
    });
    const [vm] = run.vms;
    if (vm === undefined) throw new Error(`the run of ${due} ${run.outcome}: ${run.detail ?? ''}`);
    for await (const _ of this.hub.follow(vm.backup_id ?? '')) continue;
    const backup = await this.hub.get<BackupResponse>(`/backups/${vm.backup_id ?? ''}`);
    if (backup.status !== 'completed') throw new Error(`the backup ${backup.status}: ${JSON.stringify(backup.error)}`);
    return backup;
  }

  /** Waits until nothing is being removed. An expired restore point on which others stand may stay until that is worth its writes. */
  private async settled(before: Date): Promise<void> {
    let quietLooks = 0;
    await until('expired restore points to be removed', async () => {
      const due = (await this.allBackups()).filter(
        ({ status, expiry }) => status === 'completed' && expiry !== null && expiry.grace_until < before.toISOString(),
      );
      const { pruning, pruning_failure } = await this.hub.get<ChainResponse>(`/backups/chain?vm_name=${VM}`);
      if (pruning_failure !== null) throw new Error(`pruning failed: ${pruning_failure.detail}`);
      const isQuiet = pruning.length === 0 && due.every(({ expiry }) => expiry?.needed_by !== null);
      quietLooks = isQuiet ? quietLooks + 1 : 0;
      return quietLooks === QUIET_LOOKS ? true : null;
    });
  }

  private async allBackups(): Promise<readonly BackupResponse[]> {
    return (await this.hub.get<{ readonly backups: readonly BackupResponse[] }>(`/backups?vm_id=${this.vmId}&limit=1000`)).backups;
  }

  /** What retention and pruning have done since an earlier look. */
  private newsSince(before: readonly BackupResponse[]): string {
    const old = new Map(before.map((backup) => [backup.backup_id, backup]));
    const changed = (fits: (now: BackupResponse, was: BackupResponse) => boolean): readonly BackupResponse[] =>
      this.backups.filter((now) => fits(now, old.get(now.backup_id) ?? now)).reverse();
    const removed = changed((now, was) => now.status === 'deleted' && was.status === 'completed');
    const rewritten = changed((now, was) => now.status === 'completed' && now.parent_backup_id !== was.parent_backup_id);
    const absorbed = rewritten.filter(({ parent_backup_id }) => parent_backup_id !== null);
    const flattened = rewritten.filter(({ parent_backup_id }) => parent_backup_id === null);
    const named = (what: string, backups: readonly BackupResponse[]): readonly string[] =>
      backups.length === 0 ? [] : [`${what} ${backups.map(({ backup_id }) => this.nameOf(backup_id)).join(', ')}`];
    return [...named('removed', removed), ...named('merged into', absorbed), ...named('made a full:', flattened)].join('; ');
  }

  private nameOf(backupId: string): string {
    const evening = this.evenings.find((each) => each.backupId === backupId);
    return evening === undefined ? backupId : dateOf(evening.at).slice('Tue '.length);
  }

  private async prove(): Promise<boolean> {
    const { backups } = await this.hub.get<ChainResponse>(`/backups/chain?vm_name=${VM}`);
    const restored = join(this.directory, 'restored.raw');
    const rows: string[][] = [];
    let allSame = true;
    for (const backup of backups) {
      const evening = this.evenings.find(({ backupId }) => backupId === backup.backup_id);
      await flatten(backup.disk_results[0]?.qcow2_path ?? '', restored);
      const same = (await firstDifference(restored, evening?.copy ?? '')) === null;
      await rm(restored);
      allSame &&= same;
      const expired = backup.expiry?.needed_by === null ? 'expired, in its period of grace' : 'expired, and needed by later ones';
      const why = backup.expiry === null ? `kept: ${backup.tiers.join(', ')}` : expired;
      rows.push([same ? 'PASS' : 'FAIL', this.nameOf(backup.backup_id), backup.backup_type, size(sizeOf(backup)), why]);
    }
    this.say(table(['disk', 'evening', 'stored as', 'size', 'state'], rows));
    const verified = await execa(process.execPath, [COMMAND_LINE, 'restore', '--repository', join(this.directory, 'repository'), 'verify'], { reject: false });
    if (verified.exitCode !== 0) this.say(`   FAIL sendense restore --repository ... verify: ${verified.stdout}${verified.stderr}`);
    const passed = allSame && verified.exitCode === 0;
    this.say('');
    this.say(
      passed
        ? `Of ${this.evenings.length} restore points ${backups.length} are left; each holds exactly what the disk held that evening, and passes verification.`
        : 'A restore point does NOT hold what the disk held that evening.',
    );
    return passed;
  }

  private get image(): string {
    return join(this.directory, 'images', VM, DISK);
  }

  private async write(offset: number, bytes: number): Promise<void> {
    await writeFile(join(this.directory, 'random'), randomBytes(bytes));
    // qemu-io cannot quote names.
    await execa('qemu-io', ['-f', 'qcow2', '-c', `write -q -s random ${offset} ${bytes}`, this.image], { cwd: this.directory });
  }

  private async setClock(at: Date): Promise<void> {
    const file = join(this.directory, 'clock');
    await writeFile(`${file}.next`, String(at.getTime() - Date.now()));
    await rename(`${file}.next`, file);
  }
}

function sizeOf({ disk_results }: BackupResponse): number {
  return disk_results.reduce((sum, { size_bytes }) => sum + (size_bytes ?? 0), 0);
}

/** `Tue 24 Nov` */
function dateOf(at: Date): string {
  const [weekday = '', day = '', month = ''] = at.toUTCString().split(/,? /);
  return `${weekday} ${day} ${month}`;
}

async function until<Found>(what: string, look: () => Promise<Found | null>): Promise<Found> {
  for (const ends = performance.now() + PATIENCE_MS; ;) {
    const found = await look();
    if (found !== null) return found;
    if (performance.now() > ends) throw new Error(`waited ${PATIENCE_MS / 1000} s in vain for ${what}`);
    await pause(LOOK_MS);
  }
}
