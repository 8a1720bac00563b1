import { setTimeout as pause } from 'node:timers/promises';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import pLimit, { type LimitFunction } from 'p-limit';
import { loggerFor } from '../../../lib/logging/logger.js';
import { runTool } from '../../../lib/process/run-tool.js';

/** Syncing terabytes to a slow disk takes long. */
const SYNC_DEADLINE_MS = 60 * 60_000;
/** Files of one place synced at once; more would only make a disk seek between them. */
const MAX_AT_ONCE = 4;
const PAUSE_MS = 300;

/** Syncs growing files to disk with coreutils' `sync`: writing out a large file blocks its thread for seconds, and this process has few threads. */
@Injectable()
export class FileSync implements OnApplicationShutdown {
  private readonly log = loggerFor('FileSync');
  private readonly followed = new Set<string>();
  /** By place. */
  private readonly lanes = new Map<string, LimitFunction>();

  /**
   * Syncs the file repeatedly until `leave`. Otherwise the kernel collects gigabytes before it starts writing, and the wait comes at the end. This is
   * only an optimization: a caller that needs the file on stable storage must still sync it.
   * @param place the storage, under any name that is unique to it; a hanging place does not delay the others
   */
  follow(path: string, place: string): void {
    if (this.followed.has(path)) return;
    this.followed.add(path);
    this.pushOut(path, place).catch((error: unknown) => {
      this.followed.delete(path);
      this.log.info('could not sync a growing file early', { path, error });
    });
  }

  leave(path: string): void {
    this.followed.delete(path);
  }

  onApplicationShutdown(): void {
    this.followed.clear();
  }

  private async pushOut(path: string, place: string): Promise<void> {
    const lane = this.laneOf(place);
    while (this.followed.has(path)) {
      await lane(() => runTool(['sync', '--data', '--', path], { deadlineMs: SYNC_DEADLINE_MS }));
      await pause(PAUSE_MS);
    }
  }

  private laneOf(place: string): LimitFunction {
    const lane = this.lanes.get(place) ?? pLimit(MAX_AT_ONCE);
    this.lanes.set(place, lane);
    return lane;
  }
}
