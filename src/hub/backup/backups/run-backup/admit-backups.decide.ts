import type { WaitingFor } from '../model/backup.events.js';

/** A pending backup; the queue is in the order of the requests. */
export type QueuedBackup = { readonly backup_id: string; readonly vm_id: string };

/** A backup that has been started and is not through with everything, undoing included. */
export type ActiveBackup = { readonly backup_id: string; readonly vm_id: string; /** Counts against the limit. */ readonly counts: boolean };

/** A backup that found too few free ports. */
export type PortShortage = {
  /** Ports that have to become free before it is worth another try. */
  readonly missing: number;
  /** Ports that would be missing still if every running backup gave its own back: what other programs and exports hold, who say nothing of when. */
  readonly missing_without_backups: number;
};

/**
 * By backup, those that found too few free ports; null while no backup has. While ports are short, backups take them one at a time in their order, so that nobody overtakes.
 */
export type PortShortages = ReadonlyMap<string, PortShortage> | null;

export type Admission =
  | { readonly backup_id: string; readonly start: true }
  | { readonly backup_id: string; readonly start: false; readonly waiting_for: WaitingFor; readonly detail: string };

/**
 * Who may start now. First come, first served: nobody passes a backup that waits for a place, or for ports that running backups will give back. A backup whose VM is
 * busy holds nobody else up, and neither does one that needs ports of others: it is not served sooner by a hub that stands still, and keeps its place.
 */
export function decideAdmissions(
  queue: readonly QueuedBackup[],
  active: readonly ActiveBackup[],
  limit: number,
  shortages: PortShortages,
  /** Whether a backup that was let in is still taking its ports. */
  taking: boolean,
): readonly Admission[] {
  const busy = new Set(active.map((backup) => backup.vm_id));
  let running = active.filter((backup) => backup.counts).length;
  let turnIsTaken = taking;
  return queue.map((backup): Admission => {
    const { backup_id } = backup;
    const wait = (waiting_for: WaitingFor, detail: string): Admission => ({ backup_id, start: false, waiting_for, detail });
    if (busy.has(backup.vm_id)) return wait('vm_busy', 'Another backup of this VM is not through yet.');
    busy.add(backup.vm_id);
    if (running >= limit) return wait('backup_limit', `${limit} backups are running, which is the limit.`);
    if (shortages !== null) {
      if (turnIsTaken) return wait('nbd_ports', 'An earlier backup waits for free NBD ports.');
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
