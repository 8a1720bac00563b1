import { setTimeout as pause } from 'node:timers/promises';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { loggerFor } from '../../../lib/logging/logger.js';
import { runTool } from '../../../lib/process/run-tool.js';

/** Terabytes on a slow disk take their time. */
const SYNC_DEADLINE_MS = 60 * 60_000;
/** Files of one place forced out at once; more only make one disk seek between them. */
const MAX_AT_ONCE = 4;
const PAUSE_MS = 300;

interface Lane {
  readonly waiting: (() => void)[];
  running: number;
}

/** Has files that are being written go to the disk as they grow, by coreutils' `sync`: writing out a large file holds its thread for seconds, and this process has few threads. */
@Injectable()
export class FileSync implements OnApplicationShutdown {
  private readonly log = loggerFor('FileSync');
  private readonly followed = new Set<string>();
  /** By place. */
  private readonly lanes = new Map<string, Lane>();

  /**
   * From now on until `leave`. Otherwise the kernel gathers gigabytes before it begins, and the wait comes at the end. Only makes it faster: whoever needs the file to be on stable
   * storage still syncs it.
   * @param place the storage, by any one name; one that hangs holds up nobody who writes elsewhere
   */
  follow(path: string, place: string): void {
    if (this.followed.has(path)) return;
    this.followed.add(path);
    this.pushOut(path, place).catch((error: unknown) => {
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

  private async pushOut(path: string, place: string): Promise<void> {
    while (this.followed.has(path)) {
      await this.limited(place, () => runTool(['sync', '--data', '--', path], { deadlineMs: SYNC_DEADLINE_MS }));
      await pause(PAUSE_MS);
    }
  }

  private async limited(place: string, work: () => Promise<unknown>): Promise<void> {
    const lane = this.lanes.get(place) ?? { waiting: [], running: 0 };
    this.lanes.set(place, lane);
    if (lane.running >= MAX_AT_ONCE) await new Promise<void>((resolve) => lane.waiting.push(resolve));
    lane.running += 1;
    try {
      await work();
    } finally {
      lane.running -= 1;
      lane.waiting.shift()?.();
    }
  }
}
