import type { ImageFormat } from '../../lib/qemu/image-graph.plan.js';
import { type ChainRules, DiskChain, type DiskPlace } from './disk-chain/disk-chain.js';
import { NotThisFileError } from './disk-chain/held-file.js';
import { allOrFirstError, asFailure, failure } from './image-servers.js';

/** A disk that a job will read. */
export interface JobDisk {
  readonly key: string;
  readonly place: DiskPlace;
  readonly format: ImageFormat;
  readonly rules: ChainRules;
}

/** Checks the disks once more and holds them open while the work runs. @throws DomainError for the first one that has changed; see openDisk */
export async function withDisks<Disk extends JobDisk, Result>(
  disks: readonly Disk[],
  work: (held: readonly (Disk & { readonly chain: DiskChain })[]) => Promise<Result>,
): Promise<Result> {
  const opening = disks.map((disk) => openDisk(disk));
  try {
    const chains = await allOrFirstError(opening);
    return await work(disks.map((disk, index) => ({ ...disk, chain: required(chains[index]) })));
  } finally {
    for (const opened of await Promise.allSettled(opening)) {
      if (opened.status === 'fulfilled') await opened.value.close();
    }
  }
}

/** A token for the content of the disk's files, as HeldFile.witness. @throws as openDisk */
export async function witnessOf(disk: JobDisk): Promise<string> {
  return withDisks([disk], ([held]) => required(held).chain.witness());
}

/** @throws DomainError source_changed, format_unsupported, backing_file_refused, disk_unreadable */
async function openDisk({ key, place, format, rules }: JobDisk): Promise<DiskChain> {
  let chain: DiskChain;
  try {
    chain = await DiskChain.open(place, format, rules);
  } catch (error) {
    if (error instanceof NotThisFileError) throw failure('conflict', 'source_changed', key, `Disk "${key}": ${error.message}`);
    throw asFailure(error, key, 'disk_unreadable');
  }
  const { problem } = chain;
  if (problem === null) return chain;
  await chain.close();
  throw failure('conflict', problem.code, key, `Disk "${key}": ${problem.detail}`);
}

function required<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error('a disk is missing among the opened ones');
  return value;
}
