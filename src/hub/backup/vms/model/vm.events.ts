import type { DomainEvent } from '../../../../kernel/event.js';
import type { NodeSource } from '../../../../contract/words.js';

export type VmSource = NodeSource;

export type VmDisk = {
  /** From 0, in the order of the source. */
  readonly disk_id: number;
  readonly disk_key: string;
  /** Virtual size in bytes. */
  readonly size_bytes: number;
  readonly format: string;
  /** Whether the source can list changed blocks of this disk. */
  readonly change_tracking: boolean;
};

export type VmRegistered = DomainEvent<
  'VmRegistered',
  {
    readonly vm_id: string;
    readonly name: string;
    readonly node_id: string;
    readonly source: VmSource;
    /** The node's reference to the VM: for `image` the absolute path of its folder, for `libvirt` the domain's uuid. */
    readonly source_ref: string;
    readonly disks: readonly VmDisk[];
    readonly registered_at: string;
  }
>;
/** The disks at the source have changed. */
export type VmDisksChanged = DomainEvent<'VmDisksChanged', { readonly disks: readonly VmDisk[]; readonly observed_at: string }>;
/** The VM cannot be backed up until someone follows the instructions in the detail. */
export type VmProblemFound = DomainEvent<'VmProblemFound', { readonly code: string; readonly detail: string; readonly found_at: string }>;
/** The VM can be backed up again. */
export type VmProblemSolved = DomainEvent<'VmProblemSolved', { readonly code: string; readonly solved_at: string }>;
/** Labels for the selection by policies, sorted; they replace the ones before. */
export type VmLabelsSet = DomainEvent<'VmLabelsSet', { readonly labels: readonly string[]; readonly set_at: string }>;
export type VmRemoved = DomainEvent<'VmRemoved', { readonly removed_at: string }>;

/** Stream `vm-<vm_id>`. */
export type VmEvent = VmRegistered | VmDisksChanged | VmProblemFound | VmProblemSolved | VmLabelsSet | VmRemoved;

export function vmStream(vmId: string): string {
  return `vm-${vmId}`;
}
