import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { HubConfig } from '../../hub.config.js';
import { loggerFor } from '../../../lib/logging/logger.js';
import type { FileCalls } from '../../../storage/file-door/file-calls.js';
import { DoorClosedError, FileDoor, storageSilent } from '../../../storage/file-door/file-door.js';

/** How often somebody who works on files by other ways than the door looks whether their file system answers. */
const LOOK_MS = 2_000;

/** The hub's ways to file systems that are not its own and may hang: those of repositories, and those that disks are restored to. One door for each place, made when it is first asked for. */
@Injectable()
export class FileDoors implements OnApplicationShutdown {
  private readonly log = loggerFor('FileDoors');
  private readonly doors = new Map<string, FileDoor>();
  private closed = false;

  constructor(private readonly config: HubConfig) {}

  /** @param place the folder that is asked whether the file system answers */
  at(place: string): FileCalls {
    return this.doorOf(place).calls;
  }

  /** How long the file system has not answered, in milliseconds; 0 where nothing shows that it does not. Sees to it that it is asked, and does not wait. */
  silentMs(place: string): number {
    return this.doorOf(place).silentMs();
  }

  /**
   * For work that other programs do on the files of these places: gives it up when one of them has been silent for `fail_after_silent_seconds`.
   * @param work its signal is aborted when it is given up; it is not waited for then, because it may hang in the kernel
   * @throws what storageSilent makes; DoorClosedError; what the work throws
   */
  async whileTheyAnswer<Result>(places: readonly string[], work: (signal: AbortSignal) => Promise<Result>, signal?: AbortSignal): Promise<Result> {
    const giveUp = new AbortController();
    const given = new Promise<never>((_, reject) => {
      giveUp.signal.addEventListener('abort', () => reject(giveUp.signal.reason as Error)); // given below
    });
    const look = setInterval(() => {
      for (const place of places) {
        const silentMs = this.silentMs(place);
        if (silentMs >= this.config.failAfterSilentSeconds * 1000) giveUp.abort(storageSilent(place));
        else if (this.closed && silentMs > 0) giveUp.abort(new DoorClosedError(place));
      }
    }, LOOK_MS);
    const doing = work(signal === undefined ? giveUp.signal : AbortSignal.any([signal, giveUp.signal]));
    // Nobody hears of it any more once it was given up.
    doing.catch(() => undefined);
    try {
      return await Promise.race([doing, given]);
    } finally {
      clearInterval(look);
    }
  }

  /** Nothing that hangs is waited for any more. What waits, or comes later, is told DoorClosedError by those places that do not answer within the grace. */
  hurry(graceMs: number): void {
    setTimeout(() => this.closeAll(), graceMs).unref();
  }

  onApplicationShutdown(): void {
    this.closeAll();
  }

  private closeAll(): void {
    this.closed = true;
    for (const door of this.doors.values()) door.close();
  }

  private doorOf(place: string): FileDoor {
    let door = this.doors.get(place);
    if (door === undefined) {
      door = new FileDoor(place, () => this.config.storageAnswerSeconds * 1000, this.log);
      this.doors.set(place, door);
      if (this.closed) door.close();
    }
    return door;
  }
}
