/**
 * Rewrites a restore point and kills itself with SIGKILL before one step of it. Steps are the calls that change the repository.
 * Arguments: repository, folder, backup id of the new parent or `-`, number of the step before which it dies, from 1 (0: none).
 * Prints the steps that it has come to.
 */
import { readFile, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { FileHasher } from '../../src/storage/hashing/file-hasher.js';
import type { FileHashes, HashTask } from '../../src/storage/hashing/sha256.process.js';
import { ImageMerger } from '../../src/storage/pruning/image-merger.js';
import { RestorePointRewriter } from '../../src/storage/pruning/restore-point-rewriter.js';
import { ProvenFiles } from '../../src/storage/repository-files/proven-files.js';
import { RepositoryFiles } from '../../src/storage/repository-files/repository-files.js';
import { RestorePointVerifier } from '../../src/storage/repository-files/restore-point-verifier.js';
import { type CallName, DIRECT_CALLS, type FileCalls } from '../../src/storage/storage-worker/file-calls.js';
import { QemuImg } from '../../src/lib/qemu/qemu-img.js';
import { blocksFileOf } from '../../src/storage/repository-files/manifest.js';
import { CHAIN_HUB } from './sealed-chain.js';
import { newSigner, writeDigests } from './sealed-disks.js';

const [repository = '', folder = '', parent = '-', killAt = '0'] = process.argv.slice(2);
const CHANGING: readonly CallName[] = ['makeFolder', 'createImage', 'changeMode', 'rename', 'removeTree', 'syncToDisk', 'writeDurably'];
const steps: string[] = [];

async function step<T>(name: string, work: () => Promise<T>): Promise<T> {
  steps.push(name);
  if (steps.length === Number(killAt)) process.kill(process.pid, 'SIGKILL');
  return work();
}

const calls: FileCalls = { ...DIRECT_CALLS };
for (const name of CHANGING) {
  const call = DIRECT_CALLS[name] as (...args: readonly unknown[]) => Promise<unknown>;
  Object.assign(calls, { [name]: (...args: readonly unknown[]) => step(name, () => call(...args)) });
}

class KilledMerger extends ImageMerger {
  override copy(...args: Parameters<ImageMerger['copy']>): Promise<void> {
    return step('copy', () => super.copy(...args));
  }
  override commit(...args: Parameters<ImageMerger['commit']>): Promise<void> {
    return step('commit', () => super.commit(...args));
  }
  override areEqual(...args: Parameters<ImageMerger['areEqual']>): Promise<boolean> {
    return step('compare', () => super.areEqual(...args));
  }
}

/** In this process, which is a bundle without the hashing program next to it. */
class OwnHasher extends FileHasher {
  override sha256(path: string): Promise<string> {
    return DIRECT_CALLS.sha256(path);
  }
  override async hashes({ path, blocks }: HashTask): Promise<FileHashes> {
    const { block_bytes: _, file: __, ...written } = writeDigests(dirname(path), basename(path), await readFile(path));
    if (blocks !== null) await rename(join(dirname(path), blocksFileOf(basename(path))), blocks.path);
    return { sha256: await this.sha256(path), content_digest: null, written, compared: null };
  }
}

const files = new RepositoryFiles(() => calls);
const hasher = new OwnHasher();
const proven = new ProvenFiles(null);
const qemuImg = new QemuImg();
const verifier = new RestorePointVerifier(files, qemuImg, hasher, proven);
const rewriter = new RestorePointRewriter(
  files,
  verifier,
  new KilledMerger(),
  qemuImg,
  hasher,
  proven,
  () => newSigner(CHAIN_HUB),
  () => calls,
);
const prepared = await rewriter.prepare({
  repositoryPath: repository,
  folder,
  parentBackupId: parent === '-' ? null : parent,
  at: '2026-12-01T00:00:00.000Z',
});
if (prepared !== null) await rewriter.swap(prepared);
process.stdout.write(JSON.stringify(steps));
