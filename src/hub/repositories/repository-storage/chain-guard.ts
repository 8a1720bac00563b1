import { setTimeout as pause } from 'node:timers/promises';
import { DomainError } from '../../../kernel/domain-error.js';
import type { ImageFacts } from '../../../storage/storage-worker/file-calls.js';
import { FileHasher, HashingFailedError } from '../../../storage/hashing/file-hasher.js';
import type { ImageChain } from '../../../lib/qemu/image-chain.plan.js';
import type { SealedFile } from '../../../storage/repository-files/chain-check.plan.js';
import type { ProvenFiles } from '../../../storage/repository-files/proven-files.js';
import type { CheckedChain, RepositoryFiles } from '../../../storage/repository-files/repository-files.js';
import { rethrowSilence } from '../../../storage/repository-files/storage-error.js';

export interface ChainOptions {
  /** Accepts missing files and files that differ from their sealed content, but not files that could reference other files. */
  readonly allowDamaged: boolean;
  /** How long to wait before the answer is `restore_point_being_checked`; reading continues. Infinity: wait until all files are read. */
  readonly patienceMs: number;
  /** Aborts the wait, not the reading. */
  readonly signal?: AbortSignal;
}

const SHA256 = /^[0-9a-f]{64}$/;

/** Damage by the reason of a refusal. A header is part of the content. */
const DAMAGE: Readonly<Record<string, FoundDamage['reason']>> = {
  file_missing: 'file_missing',
  file_truncated: 'file_truncated',
  file_altered: 'file_altered',
  header_refused: 'file_altered',
  backing_file_differs: 'file_altered',
};

/** How long an interactive request waits, in milliseconds. */
export const REQUEST_PATIENCE_MS = 20_000;

/** Kernels may assign the same timestamp for up to this long. */
const TICK_NS = 20_000_000n;
/** File systems with timestamps in units of one or two seconds have no fraction. */
const COARSE_TICK_NS = 3_000_000_000n;
const NS_PER_MS = 1_000_000n;

/** A file that differs from its sealed content. */
export interface FoundDamage {
  readonly repository_path: string;
  readonly backup_id: string;
  /** Relative to the repository. */
  readonly file: string;
  readonly reason: 'file_missing' | 'file_truncated' | 'file_altered';
  /** Human-readable. */
  readonly detail: string;
}

interface Reading {
  readonly done: Promise<string>;
  read: number;
}

/**
 * Guards every opening of a restore point's files. A file is opened only if it has the SHA-256 of its sealing and has not changed since that hash was
 * last verified: its inode, length and timestamps are those recorded then. A file that looks different is read again first.
 */
export class ChainGuard {
  /** Files being read, by path and state. */
  private readonly readings = new Map<string, Reading>();
  private readonly listeners: ((found: FoundDamage) => Promise<void>)[] = [];

  constructor(
    private readonly files: RepositoryFiles,
    private readonly hasher: FileHasher,
    private readonly proven: ProvenFiles,
  ) {}

  /**
   * Calls the listener for every file that is found damaged, before the opening is refused. It is not called if the path only leads to another file
   * through a link, or if the file cannot be read at the moment; the opening is refused all the same.
   * @param listener must not reject
   */
  onDamage(listener: (found: FoundDamage) => Promise<void>): void {
    this.listeners.push(listener);
  }

  /**
   * @param sealed oldest first
   * @returns the files, to be opened with an explicit graph
   * @throws DomainError restore_point_damaged, restore_point_unsafe (conflict), restore_point_being_checked, repository_unavailable (unavailable); the signal's reason
   */
  async open(repositoryPath: string, sealed: readonly SealedFile[], options: ChainOptions): Promise<ImageChain> {
    const chain = await this.files.checkChain(repositoryPath, sealed, options.allowDamaged).catch(async (error: unknown) => {
      await this.report(repositoryPath, error);
      throw error;
    });
    if (!options.allowDamaged) await this.prove(repositoryPath, chain, options);
    return chain.images;
  }

  private async prove(repositoryPath: string, chain: CheckedChain, { patienceMs, signal }: ChainOptions): Promise<void> {
    const unproven: { readonly sealed: SealedFile; readonly path: string; readonly facts: ImageFacts }[] = [];
    const proven = await this.proven.findAll(
      repositoryPath,
      chain.files.map(({ sealed }) => sealed.file),
    );
    for (const { sealed, path, facts } of chain.files) {
      const known = proven.get(sealed.file);
      if (facts !== null && (known?.state !== facts.state || known.sha256 !== sealed.sha256)) unproven.push({ sealed, path, facts });
    }
    if (unproven.length === 0) return;
    const readings = unproven.map((each) => this.reading(repositoryPath, each.path, each.sealed.file, each.facts));
    const all = Promise.all(
      unproven.map(async ({ sealed, path }, index) => {
        const sha256 = await readings[index]?.done;
        if (sha256 === sealed.sha256) return;
        const refusal = new DomainError(
          'conflict',
          'restore_point_damaged',
          `The file "${path}" of restore point ${sealed.backup_id} was altered: its SHA-256 is ${sha256 ?? ''}; it was sealed with ${sealed.sha256}. Verify the backup, choose an older restore point, or use this one as it is with allow_damaged.`,
          { damaged_backup_id: sealed.backup_id, file: sealed.file, reason: 'file_altered' },
        );
        if (sha256 !== undefined && SHA256.test(sha256)) await this.report(repositoryPath, refusal);
        throw refusal;
      }),
    );
    // A timeout may have abandoned it.
    all.catch(() => undefined);
    const total = unproven.reduce((sum, { facts }) => sum + facts.size_bytes, 0);
    await Promise.race([all, this.givenUp(patienceMs, signal, () => ({ read: readings.reduce((sum, { read }) => sum + read, 0), total }))]);
  }

  private async report(repositoryPath: string, refusal: unknown): Promise<void> {
    if (!(refusal instanceof DomainError)) return;
    const { damaged_backup_id: backupId, file, reason } = refusal.facts;
    const damage = typeof reason === 'string' ? DAMAGE[reason] : undefined;
    if (damage === undefined || typeof backupId !== 'string' || typeof file !== 'string') return;
    const found = { repository_path: repositoryPath, backup_id: backupId, file, reason: damage, detail: refusal.message };
    await Promise.all(this.listeners.map((listener) => listener(found)));
  }

  private async givenUp(
    patienceMs: number,
    signal: AbortSignal | undefined,
    progress: () => { readonly read: number; readonly total: number },
  ): Promise<never> {
    if (patienceMs === Infinity) {
      return new Promise((_, reject) => {
        if (signal?.aborted === true) reject(signal.reason as Error); // the caller aborts with an Error
        signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      });
    }
    await pause(patienceMs, undefined, { ref: false, ...(signal === undefined ? {} : { signal }) });
    const { read, total } = progress();
    throw new DomainError(
      'unavailable',
      'restore_point_being_checked',
      `The files of the restore point are new or were changed, and are being compared with their hashes first: ${read} of ${total} bytes so far. The check continues; repeat the request later.`,
      { bytes_checked: read, bytes_total: total },
    );
  }

  private reading(repositoryPath: string, path: string, file: string, facts: ImageFacts): Reading {
    const key = `${path}\n${facts.state}`;
    const known = this.readings.get(key);
    if (known !== undefined) return known;
    const reading: Reading = {
      read: 0,
      done: this.read(repositoryPath, path, file, facts, (read) => {
        reading.read = read;
      }).finally(() => this.readings.delete(key)),
    };
    reading.done.catch(() => undefined);
    this.readings.set(key, reading);
    return reading;
  }

  private async read(repositoryPath: string, path: string, file: string, before: ImageFacts, onRead: (bytes: number) => void): Promise<string> {
    // Another caller may have just read it.
    const known = await this.proven.find(repositoryPath, file);
    if (known?.state === before.state) return known.sha256;
    await settled(before);
    const sha256 = await this.hasher.sha256(path, undefined, onRead).catch((error: unknown) => {
      if (error instanceof HashingFailedError && error.saysOfTheFile) return `unreadable (${error.code})`;
      return rethrowSilence(error, repositoryPath);
    });
    const after = await this.files.imageFacts(repositoryPath, file);
    if (after?.state !== before.state) return 'unknown, because the file changed while it was read';
    if (isSettled(before)) await this.proven.remember(repositoryPath, new Map([[file, { state: before.state, sha256 }]]));
    return sha256;
  }
}

/** Whether a change from now on would alter the time of the last change. */
function isSettled({ ctime_ns }: ImageFacts): boolean {
  return leftUntilSettled(BigInt(ctime_ns)) === 0n;
}

async function settled({ ctime_ns }: ImageFacts): Promise<void> {
  const left = leftUntilSettled(BigInt(ctime_ns));
  if (left > 0n && left <= COARSE_TICK_NS) await pause(Number(left / NS_PER_MS) + 1);
}

/** If the clock of a file server runs ahead, a file stays unsettled for that long, which costs extra reads but no safety. */
function leftUntilSettled(ctimeNs: bigint): bigint {
  const tick = ctimeNs % 1_000_000_000n === 0n ? COARSE_TICK_NS : TICK_NS;
  const left = ctimeNs + tick - BigInt(Date.now()) * NS_PER_MS;
  return left > 0n ? left : 0n;
}
