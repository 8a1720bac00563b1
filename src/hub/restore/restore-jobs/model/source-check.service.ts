import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { type DamageFinding, MarkRestorePointDamaged } from '../../../backup/chains/model/chain.commands.js';
import { MarkCopyDamaged } from '../../../repositories/copies/model/copy.commands.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { FileHasher, HashingFailedError } from '../../../../storage/hashing/file-hasher.js';
import type { DamagedSource, RestoreDisk, SourceFile } from './restore-job.events.js';

/** What the check needs of a job, whichever kind of restore it is. */
interface CheckedJob {
  readonly job_id: string;
  readonly chain_id: string;
  readonly repository_id: string;
  readonly repository_path: string;
  readonly disks: readonly Pick<RestoreDisk, 'sources'>[];
  readonly allow_damaged?: boolean;
}

const OF_A_COPY = { parent_missing: 'file_missing', parent_truncated: 'file_truncated', parent_altered: 'file_altered' } as const;

type Verified =
  | { readonly kind: 'sources_verified'; readonly files: number; readonly bytes: number; readonly at: string }
  | { readonly kind: 'sources_damaged'; readonly files: readonly DamagedSource[]; readonly at: string };

interface Recorder {
  record(jobId: string, step: Verified): Promise<unknown>;
  context(jobId: string): Promise<CommandContext>;
}

/** The files from which a job reads, each once. */
export function sourcesOf({ disks }: Pick<CheckedJob, 'disks'>): readonly SourceFile[] {
  return [...new Map(disks.flatMap(({ sources }) => sources.map((source) => [source.file, source]))).values()];
}

/** Compares the source files of a restore with what was sealed, and marks damaged restore points in their chain. */
@Injectable()
export class SourceCheck {
  constructor(
    private readonly commands: CommandBus,
    private readonly hasher: FileHasher,
    private readonly clock: Clock,
    private readonly dataSource: DataSource,
  ) {}

  /** Checks every source file against the hash recorded when it was sealed. @throws DomainError source_damaged, unless the job allows damage; the signal's reason */
  async verify(job: CheckedJob, recorder: Recorder, codeOf: (source: SourceFile) => Promise<DamageFinding['code']>, signal: AbortSignal): Promise<void> {
    const sources = sourcesOf(job);
    const damaged: DamagedSource[] = [];
    await Promise.all(
      sources.map(async (source) => {
        const sha256 = await this.hasher.sha256(join(job.repository_path, source.file), signal).catch((error: unknown) => {
          if (error instanceof HashingFailedError && error.saysOfTheFile) return `unreadable (${error.code})`;
          throw error;
        });
        if (sha256 === source.sha256) return;
        const detail = `its SHA-256 is ${sha256}, but ${source.sha256} was sealed`;
        await this.mark(job, recorder, source, await codeOf(source), detail);
        damaged.push({ backup_id: source.backup_id, file: source.file, detail });
      }),
    );
    const at = this.clock.iso();
    const bytes = sources.reduce((sum, source) => sum + source.size_bytes, 0);
    await recorder.record(
      job.job_id,
      damaged.length > 0 ? { kind: 'sources_damaged', files: damaged, at } : { kind: 'sources_verified', files: sources.length, bytes, at },
    );
  }

  /** @param allowed whether the job continues all the same @throws DomainError source_damaged unless allowed */
  async mark(
    job: CheckedJob,
    recorder: Recorder,
    { backup_id, file }: SourceFile,
    code: DamageFinding['code'],
    what: string,
    allowed = job.allow_damaged === true,
  ): Promise<void> {
    const path = join(job.repository_path, file);
    const detail = `The file "${path}" of restore point ${backup_id} differs from the sealed one: ${what}.`;
    const context = await recorder.context(job.job_id);
    const primary = (await this.dataSource.getRepository(BackupReadModel).findOneBy({ backup_id }))?.repository_id ?? job.repository_id;
    if (primary === job.repository_id) {
      const finding = { code, detail, file, verification_id: null };
      await this.commands.execute(new MarkRestorePointDamaged(job.chain_id, backup_id, finding, context));
    } else {
      await this.commands.execute(new MarkCopyDamaged(backup_id, job.repository_id, { code: OF_A_COPY[code], file, detail }, context));
    }
    if (!allowed) throw new DomainError('conflict', 'source_damaged', detail, { backup_id, file: path });
  }
}
