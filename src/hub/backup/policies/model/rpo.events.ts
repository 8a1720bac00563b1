import type { DomainEvent } from '../../../../kernel/event.js';

/** Why a breach of an RPO ended. These codes are part of the API and stable. */
export type RpoEnd =
  /** A newer good restore point exists. */
  | 'restore_point'
  /** The promise now allows the age of the newest restore point. */
  | 'rpo_changed'
  /** No policy with an RPO selects the VM any more. */
  | 'not_promised'
  | 'vm_removed';

/** The newest good restore point of a VM is older than promised, or there is none. */
export type RpoBroken = DomainEvent<
  'RpoBroken',
  {
    readonly vm_id: string;
    readonly vm_name: string;
    /** The policy with the shortest RPO among those that select the VM. */
    readonly policy_id: string;
    readonly policy_version: number;
    readonly rpo_seconds: number;
    /** The newest good restore point; null: there is none. */
    readonly backup_id: string | null;
    readonly instant: string | null;
    /** When the restore point became too old, or when the promise began, whichever is later. */
    readonly broken_at: string;
    readonly recorded_at: string;
  }
>;
/** The breach has ended. */
export type RpoRestored = DomainEvent<
  'RpoRestored',
  {
    readonly vm_id: string;
    readonly reason: RpoEnd;
    /** The newest good restore point; null: there is none, or the VM was removed. */
    readonly backup_id: string | null;
    readonly instant: string | null;
    /** When the breach began. */
    readonly broken_at: string;
    readonly restored_at: string;
    readonly recorded_at: string;
  }
>;

/** Stream `rpo-<vm_id>`. */
export type RpoEvent = RpoBroken | RpoRestored;

export function rpoStream(vmId: string): string {
  return `rpo-${vmId}`;
}
