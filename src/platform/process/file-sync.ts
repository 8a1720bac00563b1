import { stat } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { loggerFor } from '../logging/logger.js';
import { syncToDisk } from '../repository-files/durable-write.js';
import { runTool } from './run-tool.js';

/** Terabytes on a slow disk take their time. */
const SYNC_DEADLINE_MS = 60 * 60_000;
/** Files forced out at once; more only make one disk seek between them. */
const MAX_AT_ONCE = 4;
const PAUSE_MS = 300;
/** Smaller files hold a thread no longer than this program's other durable writes do, and would be synced before a tool has started. */
const LEAST_BYTES_FOR_A_TOOL = 4 * 1024 * 1024;

/**
 * Forces files to stable storage; large ones by coreutils' `sync`, each in a process of its own, because fsync of a large file holds its thread for seconds, and this process has few threads
 * for all its file work.
 */
@Injectable()
export class FileSync implements OnApplicationShutdown {
  private readonly log = loggerFor('FileSync');
  private readonly followed = new Set<string>();
  private readonly waiting: (() => void)[] = [];
  private running = 0;

  /** Resolves when data and metadata of the file are on stable storage. @throws ToolError, or the system's error for a small file */
  async toDisk(path: string): Promise<void> {
    const { size } = await stat(path);
    await this.limited(() => (size < LEAST_BYTES_FOR_A_TOOL ? syncToDisk(path) : runTool(['sync', '--', path], { deadlineMs: SYNC_DEADLINE_MS })));
  }

  /**
   * Has a file that is being written go to the disk as it grows, until `leave`. Otherwise the kernel gathers gigabytes before it begins, and the wait comes at the end. Only makes
   * it faster: whoever needs the file to be on stable storage still calls `toDisk`.
   */
  follow(path: string): void {
    if (this.followed.has(path)) return;
    this.followed.add(path);
    this.pushOut(path).catch((error: unknown) => {
      this.followed.delete(path);
      this.log.info('a growing file is not written out early', { path, error });
    });
  }

  leave(path: string): void {
    this.followed.delete(path);
  }

  onApplicationShutdown(): void {
    this.followed.clear();
  }

  private async pushOut(path: string): Promise<void> {
    while (this.followed.has(path)) {
      await this.limited(() => runTool(['sync', '--data', '--', path], { deadlineMs: SYNC_DEADLINE_MS }));
      await pause(PAUSE_MS);
    }
  }

  private async limited(work: () => Promise<unknown>): Promise<void> {
    if (this.running >= MAX_AT_ONCE) await new Promise<void>((resolve) => this.waiting.push(resolve));
    this.running += 1;
    try {
      await work();
    } finally {
      this.running -= 1;
      this.waiting.shift()?.();
    }
  }
}
