import type { WaitingFor } from '../model/backup.events.js';

/** A pending backup; the queue is in the order of the requests. */
export type QueuedBackup = { readonly backup_id: string; readonly vm_id: string };

/** A backup that has been started and is not through with everything, undoing included. */
export type ActiveBackup = { readonly backup_id: string; readonly vm_id: string; /** Counts against the limit. */ readonly counts: boolean };

/** The backup that found too few free ports last. While ports are short, backups take them one at a time in their order, so that nobody overtakes. */
export type PortShortage = { readonly backup_id: string; readonly missing: number };

export type Admission =
  | { readonly backup_id: string; readonly start: true }
  | { readonly backup_id: string; readonly start: false; readonly waiting_for: WaitingFor; readonly detail: string };

/**
 * Who may start now. First come, first served: nobody passes a backup that waits for a place or for ports, but a backup whose VM is busy
 * holds nobody else up.
 */
export function decideAdmissions(
  queue: readonly QueuedBackup[],
  active: readonly ActiveBackup[],
  limit: number,
  shortage: PortShortage | null,
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
    if (shortage !== null) {
      if (turnIsTaken) return wait('nbd_ports', 'An earlier backup waits for free NBD ports.');
      turnIsTaken = true;
      if (shortage.backup_id === backup_id && shortage.missing > 0) return wait('nbd_ports', `${shortage.missing} more free NBD port(s) are needed.`);
    }
    running += 1;
    return { backup_id, start: true };
  });
}
