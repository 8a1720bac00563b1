import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import { QemuImg } from '../../src/lib/qemu/qemu-img.js';
import { FileHasher } from '../../src/storage/hashing/file-hasher.js';
import { ImageMerger } from '../../src/storage/pruning/image-merger.js';
import { RestorePointRewriter } from '../../src/storage/pruning/restore-point-rewriter.js';
import { ProvenFiles } from '../../src/storage/repository-files/proven-files.js';
import { RepositoryFiles } from '../../src/storage/repository-files/repository-files.js';
import { RestorePointVerifier } from '../../src/storage/repository-files/restore-point-verifier.js';
import { LoopMount } from '../support/loop-mount.js';
import { newSigner } from '../support/sealed-disks.js';
import { BenchHub, changeDisk, GIB, MIB, settleDisks } from './bench-hub.js';
import { atMost, type BenchOptions, type BenchResult, inSeconds, median, ratio } from './measure.js';

const AT = '2026-12-01T00:00:00.000Z';
const COPY_LIMIT = 1.3;
const CONVERT_LIMIT = 1.2;
const CHANGED = 0.05;

interface Case {
  readonly what: string;
  readonly bare: string;
  readonly limit: number;
  readonly repository: string;
  /** The restore point that is rewritten, and the one it is based on then. */
  readonly rewritten: BackupResponse;
  readonly parent: BackupResponse | null;
  /** Commands that do the bare work, into files in the directory. */
  readonly commands: (directory: string) => readonly (readonly [string, ...string[]])[];
}

/** The operations of pruning against bare copies of the same files. */
export async function benchPruning({ smoke }: BenchOptions): Promise<BenchResult> {
  const sizeBytes = smoke ? 128 * MIB : 4 * GIB;
  const rounds = smoke ? 1 : 5;
  const hub = await BenchHub.start();
  let xfs: LoopMount | null = null;
  try {
    const [image = ''] = await hub.addVm('bench', 1, { sizeBytes, dataBytes: sizeBytes });
    const full = (await hub.backUp('bench', 'full')).backup;
    const increments: BackupResponse[] = [];
    for (const seed of [1, 2]) {
      await changeDisk(image, sizeBytes, CHANGED, seed);
      increments.push((await hub.backUp('bench', 'incremental')).backup);
    }
    await hub.system.kill('SIGTERM');
    const [lower, upper] = increments;
    if (lower === undefined || upper === undefined) throw new Error('there are no incrementals');
    const plain = hub.system.repositoryPath;
    xfs = await LoopMount.create(hub.system.directory, Math.ceil(sizeBytes / MIB) * 2 + 512, 'xfs');
    const sharing = join(xfs.path, 'repository');
    await execa('cp', ['-a', plain, sharing]);

    const fileOf = (repository: string, { folder }: BackupResponse): string => join(repository, folder ?? '', 'disk-0.qcow2');
    const copy = (from: string, to: string): readonly [string, ...string[]] => ['cp', '--reflink=never', from, to];
    const cases: readonly Case[] = [
      {
        what: 'absorb of an incremental',
        bare: 'cp of both files',
        limit: COPY_LIMIT,
        repository: plain,
        rewritten: upper,
        parent: full,
        commands: (directory) => [lower, upper].map((each, index) => copy(fileOf(plain, each), join(directory, `${index}`))),
      },
      {
        what: 'flatten of an incremental on XFS',
        bare: 'cp of the incremental',
        limit: COPY_LIMIT,
        repository: sharing,
        rewritten: lower,
        parent: null,
        commands: (directory) => [copy(fileOf(sharing, lower), join(directory, '0'))],
      },
      {
        what: 'flatten of an incremental on ext4',
        bare: 'qemu-img convert',
        limit: CONVERT_LIMIT,
        repository: plain,
        rewritten: lower,
        parent: null,
        commands: (directory) => [['qemu-img', 'convert', '-O', 'qcow2', fileOf(plain, lower), join(directory, '0')]],
      },
    ];
    const rows: string[][] = [];
    const targets = [];
    for (const each of cases) {
      const { ours, bare } = await measure(each, rounds);
      const quotient = median(ours) / median(bare);
      rows.push([each.what, inSeconds(median(ours)), ours.map(inSeconds).join(', ')]);
      rows.push([each.bare, inSeconds(median(bare)), bare.map(inSeconds).join(', ')]);
      targets.push(atMost(`${each.what} / ${each.bare}`, each.limit, quotient, ratio));
    }
    return {
      title: 'Pruning',
      notes: [
        `a full of ${sizeBytes / MIB} MiB of random data and two incrementals of 5 %, in pieces of 64 KiB spread evenly, in the page cache; ${rounds} rounds of both, alternately; medians`,
        'pruning: SHA-256 of the merged files, copy, merge, qemu-img check, comparison of the content, SHA-256 of the new file, fsync; replacing the file takes milliseconds more',
        'bare: the command, and sync of what it has written',
      ],
      head: ['', 'median', 'all rounds'],
      rows,
      targets,
    };
  } finally {
    await xfs?.remove();
    await hub.system.destroy();
  }
}

async function measure({ repository, rewritten, parent, commands }: Case, rounds: number): Promise<{ readonly ours: number[]; readonly bare: number[] }> {
  const [files, hasher, qemuImg, proven] = [new RepositoryFiles(), new FileHasher(), new QemuImg(), new ProvenFiles(null)];
  const verifier = new RestorePointVerifier(files, qemuImg, hasher, proven);
  const signer = newSigner('bench');
  const rewriter = new RestorePointRewriter(files, verifier, new ImageMerger(), qemuImg, hasher, proven, () => signer);
  const folder = rewritten.folder ?? '';
  const directory = join(repository, 'bare');
  const ours: number[] = [];
  const bare: number[] = [];
  const measureOurs = async (): Promise<void> => {
    const begun = performance.now();
    await rewriter.prepare({ repositoryPath: repository, folder, parentBackupId: parent?.backup_id ?? null, at: AT });
    ours.push(performance.now() - begun);
    // Undoes it.
    await rewriter.settle(repository, folder);
  };
  const measureBare = async (): Promise<void> => {
    await mkdir(directory);
    const begun = performance.now();
    for (const [file, ...args] of commands(directory)) await execa(file, args);
    await execa('sync', ['--file-system', directory]);
    bare.push(performance.now() - begun);
    await rm(directory, { recursive: true });
  };
  for (let round = 0; round < rounds; round++) {
    for (const work of round % 2 === 0 ? [measureBare, measureOurs] : [measureOurs, measureBare]) {
      await settleDisks();
      await work();
    }
  }
  hasher.onApplicationShutdown();
  return { ours, bare };
}
