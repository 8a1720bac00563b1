import { createCipheriv, createHash } from 'node:crypto';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import pLimit from 'p-limit';
import type { ChainPruning } from '../../src/hub/backup/chains/model/chain.commands.js';
import { toChainPruning } from '../../src/hub/backup/chains/prune-chain/prune-chain.handler.js';
import type { Tier } from '../../src/hub/backup/backups/model/backup.events.js';
import { findingsOf } from '../../src/hub/backup/policies/apply-retention/retention-findings.plan.js';
import { worthwhilePrunings } from '../../src/hub/backup/policies/apply-retention/worthwhile-prunings.plan.js';
import type { Retention } from '../../src/hub/backup/policies/model/policy.events.js';
import { decideRetention, planRemovals, RetentionCalendar, type RetentionPoint, tiersOf } from '../../src/hub/backup/policies/model/retention.plan.js';
import { nextAfter, parseSchedule } from '../../src/hub/backup/policies/model/schedule.plan.js';
import { parseVerifier } from '../../src/lib/ledger/signed-note.js';
import { QemuImg } from '../../src/lib/qemu/qemu-img.js';
import { FileHasher } from '../../src/storage/hashing/file-hasher.js';
import { ImageMerger } from '../../src/storage/pruning/image-merger.js';
import { planPruning, type PrunablePoint, type PrunePlan, type PruneStep } from '../../src/storage/pruning/prune-chains.plan.js';
import { RestorePointRewriter } from '../../src/storage/pruning/restore-point-rewriter.js';
import { type Manifest, MANIFEST_FILE, SIGNATURE_FILE } from '../../src/storage/repository-files/manifest.js';
import { ProvenFiles } from '../../src/storage/repository-files/proven-files.js';
import { RepositoryFiles } from '../../src/storage/repository-files/repository-files.js';
import { MARKER_FILE } from '../../src/storage/repository-files/repository-marker.js';
import { RestorePointVerifier } from '../../src/storage/repository-files/restore-point-verifier.js';
import { CHAIN_HUB, SealedChain, type SealedPoint } from './sealed-chain.js';
import { newSigner } from './sealed-disks.js';
import { seeded } from './seeded.js';

const MIB = 1024 * 1024;
const CLUSTER = 65_536;
const SECTOR = 512;
const GRACE_MS = 24 * 3_600_000;
const CHECKED_AT_ONCE = 2;
const CHAIN = 'chain';
const POLICY = 'policy';

export interface RetainedHistoryOptions {
  readonly retention: Retention;
  readonly timeZone: string;
  /** As a policy has it. */
  readonly schedule: string;
  /** The instant before the first run, ISO 8601, UTC. */
  readonly since: string;
  readonly diskMib: number;
  /** Of what is written, and of the runs that are missed and added. */
  readonly seed: number;
  /** Whether the file system shares the blocks of a copy. */
  readonly sharesBlocks: boolean;
}

/** A restore point that is there. */
interface Standing {
  readonly sealed: SealedPoint;
  readonly at: number;
  tiers: readonly Tier[];
  expiry: { readonly grace_until: string } | null;
  parent: string | null;
  files: PrunablePoint['files'];
}

/** What a day writes into a disk. `data` null: the area is discarded. */
interface Write {
  readonly offset: number;
  readonly length: number;
  readonly data: Buffer | null;
}

/**
 * Days of a VM with two disks under a policy, on a clock that stands still between the runs. Disks, repository, seals, and every decision and rewriting of
 * restore points are those of the product; only the hub that calls them is missing. What each disk held is computed in memory, without qemu.
 */
export class RetainedHistory {
  readonly figures = { runs: 0, missed: 0, backups: 0, absorbed: 0, flattened: 0, removed: 0, most: 0, compared: 0 };
  private readonly standing: Standing[] = [];
  /** Every restore point that was ever made. */
  private readonly made: RetentionPoint[] = [];
  private readonly disks: readonly Buffer[];
  private readonly random: () => number;
  private readonly calendar = new RetentionCalendar();
  private now: string;

  private constructor(
    private readonly options: RetainedHistoryOptions,
    private readonly chain: SealedChain,
    private readonly work: string,
    private readonly files: RepositoryFiles,
    private readonly verifier: RestorePointVerifier,
    private readonly rewriter: RestorePointRewriter,
    private readonly key: string,
  ) {
    this.now = options.since;
    this.random = seeded(options.seed);
    this.disks = [0, 1].map(() => Buffer.alloc(options.diskMib * MIB));
  }

  /** @param directory where the repository is made */
  static async create(directory: string, options: RetainedHistoryOptions): Promise<RetainedHistory> {
    const signer = newSigner(CHAIN_HUB);
    const chain = await SealedChain.create(directory, options.diskMib * MIB, signer);
    const work = join(directory, 'work');
    await mkdir(work);
    const [files, hasher, qemuImg, proven] = [new RepositoryFiles(), new FileHasher(), new QemuImg(), new ProvenFiles(null)];
    const verifier = new RestorePointVerifier(files, qemuImg, hasher, proven);
    const rewriter = new RestorePointRewriter(files, verifier, new ImageMerger(), qemuImg, hasher, proven, () => signer);
    return new RetainedHistory(options, chain, work, files, verifier, rewriter, signer.key);
  }

  get points(): number {
    return this.standing.length;
  }

  /** The next run of the schedule: usually a backup, sometimes none, sometimes a second one hours later; then what the hub does about retention. */
  async run(): Promise<void> {
    const { schedule, timeZone, since } = this.options;
    const due = nextAfter(parseSchedule(schedule, timeZone, since), this.now);
    if (due === null) throw new Error(`"${schedule}" has no run after ${this.now}`);
    this.now = due.at;
    this.figures.runs += 1;
    const chance = this.random();
    if (chance < 0.04 && this.standing.length > 0) {
      this.figures.missed += 1;
      await this.retain();
      return;
    }
    await this.backUp();
    await this.retain();
    if (chance < 0.9) return;
    this.now = new Date(Date.parse(this.now) + 3 * 3_600_000).toISOString();
    await this.backUp();
    await this.retain();
  }

  private async backUp(): Promise<void> {
    const number = (this.figures.backups += 1);
    const parent = this.standing.at(-1) ?? null;
    // The second disk is added to the VM after a while, and stored in full in an incremental.
    const disks = number < 6 ? 1 : 2;
    const commands: string[][] = [];
    for (let disk = 0; disk < disks; disk++) commands.push(await this.change(disk, number));
    const writes = (disk: number): readonly string[] => commands[disk] ?? [];
    const { manifest, ...sealed } = await this.chain.seal({ number, startedAt: this.now, parent: parent?.sealed ?? null, disks, writes });
    const truth = this.disks.slice(0, disks).map((content) => createHash('sha256').update(content).digest('hex'));
    const at = Date.parse(this.now);
    this.standing.push({
      ...{ sealed: { ...sealed, truth }, at, tiers: [], expiry: null, parent: parent?.sealed.backupId ?? null, files: filesOf(manifest) },
    });
    this.made.push(pointOf({ backup_id: sealed.backupId, at, tiers: [] }));
    this.figures.most = Math.max(this.figures.most, this.standing.length);
  }

  /** Changes a disk in memory. @returns the commands of qemu-io that do the same to an image */
  private async change(disk: number, number: number): Promise<string[]> {
    const content = this.disks[disk] ?? Buffer.alloc(0);
    const commands: string[] = [];
    for (const [index, { offset, length, data }] of this.writes(number * 16 + disk * 8, content.length).entries()) {
      if (data === null) {
        content.fill(0, offset, offset + length);
        commands.push(`write -q -z -u ${offset} ${length}`);
        continue;
      }
      data.copy(content, offset);
      const file = join(this.work, `disk-${disk}-${index}`);
      await writeFile(file, data);
      commands.push(`write -q -s ${file} ${offset} ${length}`);
    }
    return commands;
  }

  /** Now and then nothing; otherwise data that fills clusters or parts of them, data that is zero, and discarded clusters. */
  private writes(seed: number, bytes: number): readonly Write[] {
    const count = Math.floor(this.random() * 5);
    return Array.from({ length: count }, (_, index): Write => {
      const kind = this.random();
      const grain = kind < 0.5 ? SECTOR : CLUSTER;
      const length = grain * (1 + Math.floor(this.random() * (kind < 0.5 ? 300 : 4)));
      const offset = grain * Math.floor(this.random() * ((bytes - length) / grain));
      if (kind > 0.85) return { offset, length, data: null };
      return { offset, length, data: kind > 0.75 ? Buffer.alloc(length) : noise(seed + index, length) };
    });
  }

  /** As ApplyRetentionReactor does it. */
  private async retain(): Promise<void> {
    const now = Date.parse(this.now);
    const { timeZone, retention } = this.options;
    const versions = [{ version: 1, time_zone: timeZone, retention }];
    const points = this.standing.map((row) => ({ ...pointOf({ backup_id: row.sealed.backupId, at: row.at, tiers: row.tiers }), expiry: row.expiry }));
    const verdicts = decideRetention(points, versions, now, this.calendar);
    const tiers = tiersOf(points, timeZone, now, this.calendar);
    for (const [backupId, finding] of findingsOf(points, verdicts, { policy_id: POLICY, versions, zone: timeZone, tiers })) {
      const row = this.rowOf(backupId);
      if (finding.kind === 'assign_tiers') row.tiers = [...row.tiers, ...finding.tiers];
      if (finding.kind === 'expire') row.expiry = { grace_until: new Date(now + GRACE_MS).toISOString() };
      if (finding.kind === 'withdraw_expiry') row.expiry = null;
    }
    const removable = (row: Standing): boolean => row.expiry !== null && Date.parse(row.expiry.grace_until) <= now;
    const { remove, waiting } = planRemovals(
      this.standing.map((row) => ({ backup_id: row.sealed.backupId, parent_backup_id: row.parent, removable: removable(row) })),
    );
    for (const backupId of remove) await this.remove(backupId);
    if (waiting.length === 0) return;
    const worthwhile = new Set(worthwhilePrunings([this.asChainPruning(await this.plan(waiting))]));
    await this.prune(waiting.filter((backupId) => worthwhile.has(backupId)));
  }

  /** As RunPruningReactor does it: the plan is made again before each step. */
  private async prune(wanted: readonly string[]): Promise<void> {
    for (;;) {
      const left = wanted.filter((backupId) => this.standing.some(({ sealed }) => sealed.backupId === backupId));
      const [step] = (await this.plan(left)).steps;
      if (step === undefined) return;
      if (step.kind === 'drop') await this.remove(step.backup_id);
      else await this.rewrite(step);
    }
  }

  private async rewrite(step: Exclude<PruneStep, { readonly kind: 'drop' }>): Promise<void> {
    const row = this.rowOf(step.backup_id);
    const parentBackupId = step.kind === 'absorb' ? step.parent_backup_id : null;
    const prepared = await this.rewriter.prepare({ repositoryPath: this.chain.repository, folder: row.sealed.folder, parentBackupId, at: this.now });
    if (prepared === null) throw new Error(`${step.backup_id} is based on ${parentBackupId} already`);
    const { manifest } = await this.rewriter.swap(prepared);
    row.parent = parentBackupId;
    row.files = filesOf(manifest);
    this.figures[step.kind === 'absorb' ? 'absorbed' : 'flattened'] += 1;
  }

  private async remove(backupId: string): Promise<void> {
    await this.files.removeRestorePoint(this.chain.repository, this.rowOf(backupId).sealed.folder);
    this.standing.splice(this.standing.indexOf(this.rowOf(backupId)), 1);
    this.figures.removed += 1;
  }

  private async plan(remove: readonly string[]): Promise<PrunePlan> {
    const points = this.standing.map(({ sealed, parent, files }): PrunablePoint => ({
      ...{ backup_id: sealed.backupId, parent_backup_id: parent, expired: remove.includes(sealed.backupId), rewritable: true, files },
    }));
    return planPruning(points, await this.files.freeBytes(this.chain.repository), this.options.sharesBlocks);
  }

  private asChainPruning(plan: PrunePlan): ChainPruning {
    return toChainPruning(CHAIN, 'repository', plan);
  }

  private rowOf(backupId: string): Standing {
    const row = this.standing.find(({ sealed }) => sealed.backupId === backupId);
    if (row === undefined) throw new Error(`there is no restore point ${backupId}`);
    return row;
  }

  /**
   * Compares everything with what has to be there: the restore points that the rules keep of all that were ever made, and no other file; in each, the disks of
   * its day as qemu-img reads them by the headers of the files alone; and the verdict of the product's verification.
   * @returns what is wrong
   */
  async defects(): Promise<readonly string[]> {
    const { repository } = this.chain;
    const folders = this.standing.map(({ sealed }) => sealed.folder);
    const defects = [
      ...differences('the repository', await readdir(repository), [MARKER_FILE, ...new Set(folders.map((folder) => dirname(folder)))]),
      ...differences(
        'the folder of the VM',
        await readdir(join(repository, dirname(folders[0] ?? ''))),
        folders.map((folder) => basename(folder)),
      ),
      ...differences(
        'the kept restore points',
        this.standing.filter(({ expiry }) => expiry === null).map(({ sealed }) => sealed.backupId),
        this.keptOfAll(),
      ),
    ];
    const turns = pLimit(CHECKED_AT_ONCE);
    const found = await Promise.all(this.standing.map((row) => turns(() => this.defectsOf(row))));
    return [...defects, ...found.flat()];
  }

  /** What the rules would keep if nothing had ever been removed. */
  private keptOfAll(): readonly string[] {
    const versions = [{ version: 1, time_zone: this.options.timeZone, retention: this.options.retention }];
    const verdicts = decideRetention(this.made, versions, Date.parse(this.now));
    return verdicts.filter(({ decision }) => decision === 'keep').map(({ backup_id }) => backup_id);
  }

  private async defectsOf({ sealed, parent }: Standing): Promise<readonly string[]> {
    const { folder, truth, backupId } = sealed;
    const { manifest, findings, signature } = await this.verifier.verifyPoint(this.chain.repository, folder, { keys: [parseVerifier(this.key)] });
    const content = await this.chain.contentOf(folder, truth.length);
    this.figures.compared += 1;
    const lists = (manifest?.disks ?? []).flatMap(({ file, blocks }) => [file, blocks?.file ?? '']);
    return [
      ...findings.map(({ code, detail }) => `${backupId}: ${code}: ${detail}`),
      ...(signature?.kind === 'trusted' ? [] : [`${backupId}: its signature is ${signature?.kind ?? 'missing'}`]),
      ...content.flatMap((digest, disk) => (digest === truth[disk] ? [] : [`${backupId}: disk ${disk} differs from what it held`])),
      ...((manifest?.parent?.backup_id ?? null) === parent ? [] : [`${backupId}: is based on ${manifest?.parent?.backup_id ?? 'nothing'}`]),
      ...differences(folder, await readdir(join(this.chain.repository, folder)), [MANIFEST_FILE, SIGNATURE_FILE, ...lists]),
    ];
  }
}

function pointOf(known: Pick<RetentionPoint, 'backup_id' | 'at' | 'tiers'>): RetentionPoint {
  return { ...known, good: true, policy_version: 1, locked_until: null, protections: [] };
}

function filesOf({ disks }: Manifest): PrunablePoint['files'] {
  return disks.map(({ disk_id, file_size_bytes, backing_file }) => ({ disk_id, size_bytes: file_size_bytes, has_backing: backing_file !== null }));
}

function differences(what: string, found: readonly string[], wanted: readonly string[]): readonly string[] {
  const extra = found.filter((each) => !wanted.includes(each)).map((each) => `${what}: has ${each}`);
  return [...extra, ...wanted.filter((each) => !found.includes(each)).map((each) => `${what}: lacks ${each}`)];
}

/** Bytes that look random and are the same for the same seed. */
function noise(seed: number, bytes: number): Buffer {
  const key = createHash('sha256').update(`${seed}`).digest().subarray(0, 16);
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(bytes));
}
