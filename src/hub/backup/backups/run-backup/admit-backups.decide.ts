import type { WaitingFor } from '../model/backup.events.js';

/** A pending backup. The queue is in the order of the requests. */
export type QueuedBackup = { readonly backup_id: string; readonly vm_id: string };

/** A backup that has been started and has not finished, including its undoing. */
export type ActiveBackup = { readonly backup_id: string; readonly vm_id: string; /** Counts against the limit. */ readonly counts: boolean };

/** A backup that found too few free ports. */
export type PortShortage = {
  /** Number of ports that must become free before another try is worthwhile. */
  readonly missing: number;
  /** Number of ports that would still be missing if every running backup released its own. Other programs and exports hold them, for an unknown time. */
  readonly missing_without_backups: number;
};

/**
 * The backups that found too few free ports, by backup; null while there are none. While ports are short, backups take them one at a time and in order, so
 * that none overtakes.
 */
export type PortShortages = ReadonlyMap<string, PortShortage> | null;

export type Admission =
  | { readonly backup_id: string; readonly start: true }
  | { readonly backup_id: string; readonly start: false; readonly waiting_for: WaitingFor; readonly detail: string };

/**
 * Decides which backups may start now. First come, first served: no backup overtakes one that waits for a place, or for ports that running backups will
 * release. A backup whose VM is busy delays no other. Neither does one that needs ports held by others: delaying other backups would not serve it sooner. It
 * keeps its place.
 */
export function decideAdmissions(
  queue: readonly QueuedBackup[],
  active: readonly ActiveBackup[],
  limit: number,
  shortages: PortShortages,
  /** Whether an admitted backup is still taking its ports. */
  taking: boolean,
): readonly Admission[] {
  const busy = new Set(active.map((backup) => backup.vm_id));
  let running = active.filter((backup) => backup.counts).length;
  let turnIsTaken = taking;
  return queue.map((backup): Admission => {
    const { backup_id } = backup;
    const wait = (waiting_for: WaitingFor, detail: string): Admission => ({ backup_id, start: false, waiting_for, detail });
    if (busy.has(backup.vm_id)) return wait('vm_busy', 'Another backup of this VM has not finished yet.');
    busy.add(backup.vm_id);
    if (running >= limit) return wait('backup_limit', `${limit} backups are running, which is the limit.`);
    if (shortages !== null) {
      if (turnIsTaken) return wait('nbd_ports', 'An earlier backup is waiting for free NBD ports.');
      const shortage = shortages.get(backup_id);
      if (shortage !== undefined && shortage.missing > 0) {
        turnIsTaken = shortage.missing_without_backups <= 0;
        return wait('nbd_ports', `${shortage.missing} more free NBD port(s) are needed.`);
      }
      turnIsTaken = true;
    }
    running += 1;
    return { backup_id, start: true };
  });
}
