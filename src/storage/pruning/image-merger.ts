import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { Injectable } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import { runTool } from '../../lib/process/run-tool.js';
import { streamTool } from '../../lib/process/stream-tool.js';
import { ToolError } from '../../lib/process/tool-error.js';
import type { ImageChain } from '../../lib/qemu/image-chain.plan.js';
import { copyFileArgv } from '../../lib/qemu/disk-copy.plan.js';
import { commitArgv, compareChainsArgv, flattenArgv, mapArgv, storedAreas } from './merge.plan.js';

/** Copying and comparing read whole disks. Hanging storage is noticed elsewhere. */
const DEADLINE_MS = 24 * 60 * 60_000;

/** Merges QCOW2 files with cp and qemu-img. The programs end with this one. @throws ToolError; DomainError repository_full; the signal's reason */
@Injectable()
export class ImageMerger {
  /** Shares the blocks where the file system can (XFS, btrfs). */
  async copy(source: string, target: string, signal?: AbortSignal): Promise<void> {
    await this.run(copyFileArgv(source, target), target, signal);
  }

  /** See commitArgv. */
  async commit(copy: string, layers: ImageChain, overlay: string, signal?: AbortSignal): Promise<void> {
    await this.run(commitArgv(copy, layers, overlay), copy, signal);
  }

  /** See flattenArgv. */
  async flatten(chain: ImageChain, target: string, bytesPerSecond: number | null, signal?: AbortSignal): Promise<void> {
    await this.run(flattenArgv(chain, target, bytesPerSecond), target, signal);
  }

  /**
   * Compares two chains as disks, byte for byte.
   * @param below the files on which both stand, oldest first. If both chains store something for the same areas, what is below needs not be read.
   */
  async areEqual(below: readonly string[], one: ImageChain, other: ImageChain, signal?: AbortSignal): Promise<boolean> {
    if (below.length === 0) return this.compare(one, other, signal);
    const [ofOne, ofOther] = await Promise.all([this.storedAreas(one, signal), this.storedAreas(other, signal)]);
    if (ofOne === ofOther) return this.compare(one, other, signal);
    return this.compare(onto(below, one), onto(below, other), signal);
  }

  private async compare(one: ImageChain, other: ImageChain, signal: AbortSignal | undefined): Promise<boolean> {
    const { exitCode } = await runTool(compareChainsArgv(one, other), { deadlineMs: DEADLINE_MS, expectedExitCodes: [0, 1], endsWithUs: true, signal });
    return exitCode === 0;
  }

  /** A digest of the areas for which a chain stores something: there may be millions of them. */
  private async storedAreas(chain: ImageChain, signal: AbortSignal | undefined): Promise<string> {
    const digest = createHash('sha256');
    const { stdout, ended } = streamTool(mapArgv(chain), signal ?? new AbortController().signal);
    // Reported below, unless its output is at fault.
    ended.catch(() => undefined);
    for await (const [start, end] of storedAreas(createInterface({ input: stdout }))) digest.update(`${start}-${end} `);
    await ended;
    return digest.digest('hex');
  }

  private async run(argv: readonly [string, ...string[]], target: string, signal: AbortSignal | undefined): Promise<void> {
    try {
      await runTool(argv, { deadlineMs: DEADLINE_MS, endsWithUs: true, signal });
    } catch (error) {
      if (!(error instanceof ToolError) || !/no space left|quota exceeded/i.test(error.stderrTail)) throw error;
      throw new DomainError('storage_full', 'repository_full', `The file system of "${dirname(target)}" has no space left. Free or add space.`, {
        path: target,
      });
    }
  }
}

function onto(below: readonly string[], chain: ImageChain): ImageChain {
  const [first = chain[0], ...rest] = [...below, ...chain];
  return [first, ...rest];
}
