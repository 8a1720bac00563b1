import { dirname } from 'node:path';
import { Injectable } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import { runTool } from '../../lib/process/run-tool.js';
import { ToolError } from '../../lib/process/tool-error.js';
import type { ImageChain } from '../../lib/qemu/image-chain.plan.js';
import { copyFileArgv } from '../../lib/qemu/disk-copy.plan.js';
import { commitArgv, compareChainsArgv } from './merge.plan.js';

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

  async areEqual(one: ImageChain, other: ImageChain, signal?: AbortSignal): Promise<boolean> {
    const { exitCode } = await runTool(compareChainsArgv(one, other), { deadlineMs: DEADLINE_MS, expectedExitCodes: [0, 1], endsWithUs: true, signal });
    return exitCode === 0;
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
