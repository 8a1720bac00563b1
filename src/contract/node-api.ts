import type { KeyedDigest } from './content-digest.js';

/**
 * The protocol between hub and node: bodies of the node's own API and of the telemetry it pushes to the hub.
 * Both sides validate what they receive; an invalid body means that the peer is faulty.
 */

/** Granularity, in bytes, at which zeroes are distinguished from data. Equals the cluster size of a backup's files. */
export const CONTENT_GRAIN = 65_536;

/** Runs of a content digest end at multiples of this, in bytes. A power of two, and the request size of a copy across a network. */
export const CONTENT_BLOCK = 262_144;

/** Digest of the data that a copy sent for a disk. */
export type NodeContentDigest = KeyedDigest;

/** GET /api/v1/health */
export interface NodeHealth {
  readonly status: 'ok';
  readonly node_id: string;
  readonly version: string;
  /** ISO 8601, UTC, by the node's clock. */
  readonly time: string;
  readonly active_jobs: number;
  /** Opaque, or `none`. A new value means that `GET /change-ids` has news in `swept` or `vm_problems`. Absent from older nodes. */
  readonly findings?: string;
}

export interface NodeDisk {
  /** Starts at 0. */
  readonly disk_id: number;
  /** Stable name of the disk at its source; for `image`, the file name. */
  readonly disk_key: string;
  /** Virtual size in bytes. */
  readonly size_bytes: number;
  readonly format: 'qcow2' | 'raw';
  readonly path: string;
  /** True for formats with persistent bitmaps. */
  readonly change_tracking: boolean;
  /** Change ids that are currently valid at the source. */
  readonly change_ids: readonly string[];
  /** Change ids that exist but are unreliable, because the image was not closed cleanly while they recorded. */
  readonly broken_change_ids: readonly string[];
  /** Why this disk cannot currently be backed up; null if it can. */
  readonly problem: { readonly code: string; readonly detail: string } | null;
  /** Known change ids that are no longer valid for this disk, and why. A change id that vanished without a trace is in none of the lists. */
  readonly change_id_problems?: readonly { readonly change_id: string; readonly code: NodeChangeIdProblem; readonly detail: string }[];
}

export const NODE_CHANGE_ID_PROBLEMS = ['change_id_lost', 'change_id_broken', 'checkpoint_lost', 'disk_replaced', 'snapshot_changed'] as const;

/**
 * Why a change id no longer identifies the changes. `change_id_lost`: its bitmap is gone; `change_id_broken`: not closed cleanly while it recorded;
 * `checkpoint_lost`: the hypervisor no longer has it (for example, the VM was defined again); `disk_replaced`: another file or device now has the same name;
 * `snapshot_changed`: snapshots were created, reverted or removed, and the record is in another file.
 */
export type NodeChangeIdProblem = (typeof NODE_CHANGE_ID_PROBLEMS)[number];

export const NODE_SOURCES = ['image', 'libvirt'] as const;

/** Hypervisors that a node supports. `image`: a folder with the disk files of a powered-off VM; `libvirt`: a libvirt domain, running or not. */
export type NodeSource = (typeof NODE_SOURCES)[number];

export const NODE_VM_STATES = ['running', 'paused', 'shut_off', 'crashed', 'other'] as const;
export type NodeVmState = (typeof NODE_VM_STATES)[number];

/** The hypervisor's own description of the VM: everything needed to recreate it, without secrets. */
export type NodeVmDefinition = {
  /** `libvirt-domain-xml`: as printed by `virsh dumpxml --inactive` without `--security-info`. */
  readonly format: 'libvirt-domain-xml';
  readonly text: string;
};

/** A device of the VM that its backups exclude. */
export type NodeLeftOutDisk = {
  readonly disk_key: string;
  /** For example `cdrom`, `floppy`, `read_only`, `shared`, `passthrough`, `network_disk`. */
  readonly reason: string;
  readonly detail: string;
};

export interface NodeVm {
  readonly name: string;
  readonly source: NodeSource;
  /** The node's name for the VM, which is also its identity: for `image` the absolute path of its folder, for `libvirt` the domain's uuid. */
  readonly source_ref: string;
  readonly disks: readonly NodeDisk[];
  /** Lower case. Absent if the source has none. */
  readonly uuid?: string;
  /** Absent if the source does not know it. */
  readonly state?: NodeVmState;
  /** Present only when a single VM was requested and the source has a definition. */
  readonly definition?: NodeVmDefinition;
  readonly left_out_disks?: readonly NodeLeftOutDisk[];
}

/** GET /api/v1/vms, optionally ?source_ref=<one VM>&source=<its source; if absent, derived from the form of source_ref> */
export interface NodeVmList {
  readonly vms: readonly NodeVm[];
  /** Sources that could not be queried or did not answer in time; their VMs are missing. Absent if all answered, and from older nodes. */
  readonly silent_sources?: readonly { readonly source: NodeSource; readonly code: string; readonly detail: string }[];
}

/** POST /api/v1/backup/start. Idempotent by job_id: a repeated call returns the current state of the job. */
export interface NodeStartBackup {
  readonly job_id: string;
  readonly hub_id: string;
  readonly vm: { readonly vm_id: string; readonly name: string; readonly source: NodeSource; readonly source_ref: string };
  /**
   * `<disk_key>:<URI>,...`; disk keys are percent-encoded as by encodeURIComponent, so that they may contain `:` and `,`. The URI is
   * `nbds://<host>:<port>/<export_name>` for a port that uses TLS with the disk's export_key, or `nbd+unix:///<export_name>?socket=<path>` if hub and node
   * share one machine and one account.
   */
  readonly nbd_targets_string: string;
  readonly disks: readonly {
    readonly disk_key: string;
    /** Virtual size of the target. If the source has another size, the job fails with disk_resized. */
    readonly size_bytes: number;
    /** null: a full backup. */
    readonly parent_change_id: string | null;
    /** The pre-shared key of the target, 64 hexadecimal digits; present exactly if its URI is nbds. A secret, kept out of journals and logs. */
    readonly export_key?: string;
  }[];
  /** Whether to freeze the guest's file systems at the instant. Absent: `none`. `try`: continue if freezing fails; `require`: the backup fails instead. */
  readonly quiesce?: NodeQuiesce;
  /** Maximum read rate of all disks of the job together, in bytes per second. Absent: no limit. */
  readonly bandwidth_limit_bps?: number;
}

export const NODE_QUIESCE = ['none', 'try', 'require'] as const;
export type NodeQuiesce = (typeof NODE_QUIESCE)[number];

/** Whether the guest's file systems were frozen. `not_quiesced`: the detail gives the reason. */
export type NodeQuiesceOutcome = {
  readonly outcome: 'quiesced' | 'not_quiesced';
  readonly detail: string;
};

export type NodeJobStatus = 'starting' | 'running' | 'completed' | 'failed' | 'cancelled';
export type NodeDiskStatus = 'pending' | 'running' | 'completed' | 'failed';

/** GET /api/v1/backup/{job_id}, and the body of POST /telemetry/backup/{job_id} at the hub. Every report is complete, so losing one does no harm. */
export interface NodeJobReport {
  readonly job_id: string;
  readonly status: NodeJobStatus;
  /** `snapshot`, `transfer`, `release`, `done` */
  readonly current_phase: string;
  /** The instant of the snapshot, common to all disks; null until it is taken. ISO 8601, UTC. */
  readonly instant: string | null;
  /** True once the servers that read the source have exited and its disks are free again. A terminal status is reported only then. */
  readonly snapshot_released: boolean;
  readonly bytes_transferred: number;
  readonly total_bytes: number;
  readonly transfer_speed_bps: number;
  readonly eta_seconds: number | null;
  readonly progress_percent: number;
  readonly disks: readonly {
    readonly disk_key: string;
    readonly status: NodeDiskStatus;
    readonly bytes_transferred: number;
    /** Bytes that this backup copies for the disk: allocated (full) or changed (incremental). */
    readonly total_bytes: number;
    /** The change id that identifies all changes since this backup's instant; null if the source cannot track changes. */
    readonly change_id: string | null;
    readonly error: { readonly code: string; readonly detail: string } | null;
    /**
     * For a completed disk: the digest of the data its copy sent to the target, and its key. The hub uses them to check that the file holds exactly that data.
     * Absent from a node next to the hub, and from versions without digests.
     */
    readonly content?: NodeContentDigest;
  }[];
  readonly error: { readonly code: string; readonly detail: string } | null;
  /** Absent until the snapshot is taken, and if quiescing was not requested. */
  readonly quiesce?: NodeQuiesceOutcome;
  /** Increases with every change of the job; an older report never overwrites a newer one. */
  readonly sequence: number;
  readonly timestamp: string;
}

/**
 * POST /api/v1/backup/{job_id}/settle, after the hub has sealed or abandoned the run. Stops the job if it is still running (only with `discarded`), removes
 * every change id of this hub (`sendense-<first 8 of hub_id>-...`) on the VM's disks that is not in keep_change_ids, and forgets the job. Idempotent, also for
 * a job unknown to the node.
 * Answer: {"settled": true}.
 */
export interface NodeSettleBackup {
  readonly hub_id: string;
  readonly outcome: 'committed' | 'discarded';
  readonly vm: { readonly source: NodeSource; readonly source_ref: string };
  readonly keep_change_ids: readonly string[];
}

/**
 * GET /api/v1/change-ids?hub_id=<hub>: every change id of this hub that the node finds on its VMs, including those of running jobs. A hub that lists first and
 * decides afterwards cannot remove a change id that was made in between.
 */
export interface NodeChangeIds {
  readonly vms: readonly { readonly source: NodeSource; readonly source_ref: string; readonly name: string; readonly change_ids: readonly string[] }[];
  /** Descriptions of what the node found without an owner (backup jobs, scratch files) and removed since the hub last acknowledged such findings. */
  readonly swept: readonly string[];
  /** All current problems. Absent from older nodes. */
  readonly vm_problems?: readonly NodeVmProblem[];
}

/** Why a VM cannot be backed up until someone does what the detail says. */
export type NodeVmProblem = {
  readonly source: NodeSource;
  readonly source_ref: string;
  readonly code: string;
  readonly detail: string;
};

/** POST /api/v1/change-ids/remove: the hub lists every change id that no chain and no unfinished run needs. The node keeps those of jobs it has not settled. */
export interface NodeRemoveChangeIds {
  readonly hub_id: string;
  readonly vms: readonly { readonly source: NodeSource; readonly source_ref: string; readonly change_ids: readonly string[] }[];
  /** The entries of NodeChangeIds.swept that the hub has recorded. */
  readonly known_swept: readonly string[];
}

/** The removed change ids. One that could not be removed (for example because its disk is in use) is missing here and listed again next time. */
export interface NodeChangeIdsRemoved {
  readonly removed: readonly { readonly source: NodeSource; readonly source_ref: string; readonly change_id: string }[];
}

/** Name of the change id (QCOW2 bitmap, libvirt checkpoint) that a backup job sets at its instant. A source may append a dot and a suffix per disk. */
export function changeIdOf(hubId: string, jobId: string): string {
  return `${changeIdPrefix(hubId)}${jobId}`;
}

/** The backup job that set a change id of this hub. */
export function jobOfChangeId(hubId: string, changeId: string): string {
  return changeId.slice(changeIdPrefix(hubId).length).split('.', 1)[0] ?? '';
}

export function changeIdPrefix(hubId: string): string {
  return `sendense-${hubId.slice(0, 8)}-`;
}

/** A part of a definition that had to be changed; the code is stable. */
export type NodeDefinitionChange = {
  readonly code: string;
  readonly detail: string;
};

export const NODE_VM_NETWORKS = ['keep', 'disconnected', 'none'] as const;
/** Network interfaces of a restored VM: unchanged, with their links down, or removed. */
export type NodeVmNetwork = (typeof NODE_VM_NETWORKS)[number];

/** POST /api/v1/vm-restores/start. Idempotent by job_id: a repeated call returns the current state of the job. */
export interface NodeStartVmRestore {
  readonly job_id: string;
  readonly definition: NodeVmDefinition;
  readonly name: string;
  /** null: the one in the definition. */
  readonly uuid: string | null;
  /** Whether to keep the MAC addresses. */
  readonly keep_identity: boolean;
  readonly start: boolean;
  readonly network: NodeVmNetwork;
  /** Attach every interface to this libvirt network; null: to its original one. */
  readonly libvirt_network: string | null;
  /** Absolute path of an existing directory on the node to copy the disks to; null: the VM uses the NBD exports for as long as it exists. */
  readonly storage_path: string | null;
  readonly disks: readonly {
    readonly disk_key: string;
    readonly size_bytes: number;
    /** NBD URI of the content: nbds if the port uses TLS with the disk's export_key only. */
    readonly uri: string;
    /** As in NodeStartBackup. */
    readonly export_key?: string;
    /** File name in storage_path; null exactly if storage_path is null. */
    readonly file_name: string | null;
  }[];
}

export type NodeVmRestoreStatus = 'running' | 'completed' | 'failed' | 'cancelled';
export type NodeVmRestorePhase = 'copying' | 'defining' | 'undoing' | 'done';

/**
 * GET /api/v1/vm-restores/{job_id}. `completed`: the domain is defined and its disks are verified. `failed` and `cancelled` are reported only once nothing of
 * the job is left but its journal.
 */
export interface NodeVmRestoreReport {
  readonly job_id: string;
  readonly status: NodeVmRestoreStatus;
  readonly phase: NodeVmRestorePhase;
  readonly disks: readonly {
    readonly disk_key: string;
    readonly status: 'pending' | 'copying' | 'comparing' | 'completed';
    /** Progress of the copy, 0 to 100. */
    readonly percent: number;
    /** Absolute path on the node; null until the file has its final name, and for an NBD disk. */
    readonly file: string | null;
  }[];
  readonly domain: { readonly name: string; readonly uuid: string } | null;
  readonly changes: readonly NodeDefinitionChange[];
  /** Why the finished VM could not be started; null: it was started, or no start was requested. */
  readonly start_error: { readonly code: string; readonly detail: string } | null;
  readonly error: { readonly code: string; readonly detail: string } | null;
}

/**
 * POST /api/v1/vm-restores/{job_id}/settle. `keep`: the VM of a completed job stays, and the node forgets the job. `discard`: the node stops the job, removes
 * its domain and files, even those of a completed job, and forgets it. Idempotent, also for a job unknown to the node. Answer: {"settled": true}.
 */
export interface NodeSettleVmRestore {
  readonly outcome: 'keep' | 'discard';
}

/** POST /api/v1/boot-checks/start. Idempotent by check_id. */
export interface NodeStartBootCheck {
  readonly check_id: string;
  readonly vm_name: string;
  readonly definition: NodeVmDefinition;
  /** Writable NBD URIs, with keys as in NodeStartVmRestore; the written content is discarded. */
  readonly disks: readonly { readonly disk_key: string; readonly size_bytes: number; readonly uri: string; readonly export_key?: string }[];
  /** Either sign is sufficient; at least one is requested. */
  readonly console_text: string | null;
  readonly guest_agent: boolean;
  /** Measured from the start of the domain. */
  readonly timeout_seconds: number;
  /** null: the VM's own memory size. */
  readonly memory_mib: number | null;
}

/** `booted`, `not_booted`: the verdict; `failed`: no verdict was possible. Reported only once the domain is gone. */
export type NodeBootCheckStatus = 'running' | 'booted' | 'not_booted' | 'failed';

/** GET /api/v1/boot-checks/{check_id} */
export interface NodeBootCheckReport {
  readonly check_id: string;
  readonly status: NodeBootCheckStatus;
  /** The sign of life that was observed; null: none. */
  readonly sign: 'console_text' | 'guest_agent' | null;
  /** Human-readable observation. */
  readonly detail: string;
  /** From the start of the domain to the verdict. */
  readonly seconds: number;
  readonly changes: readonly NodeDefinitionChange[];
  readonly error: { readonly code: string; readonly detail: string } | null;
}

/** GET /api/v1/boot-checks/{check_id}/artefacts, for a check that has ended. */
export interface NodeBootCheckArtefacts {
  /** Output of the serial console; of a long one, the beginning and the end. */
  readonly console_base64: string;
  /** null: there is none; screenshot_problem gives the reason. */
  readonly screenshot_base64: string | null;
  readonly screenshot_type: 'image/png' | 'image/x-portable-pixmap' | null;
  readonly screenshot_problem: string | null;
}

/** POST /api/v1/tunnel-ports: the hub's ports that an enrolled node's tunnel leads to. Takes effect immediately; may be repeated. */
export interface NodeTunnelPorts {
  readonly hub_api_port: number;
  readonly nbd_port_first: number;
  readonly nbd_port_count: number;
}

export interface NodeTunnelPortsTaken {
  readonly changed: boolean;
}

/**
 * POST /api/v1/keys/prepare: the node creates a new key and a new token without using them yet. A repeated call for the same rotation returns the same ones.
 */
export interface NodePrepareKeys {
  readonly rotation_id: string;
}

export interface NodePreparedKeys {
  readonly rotation_id: string;
  /** `ssh-ed25519 <base64>` */
  readonly public_key: string;
  readonly token: string;
}

/**
 * POST /api/v1/keys/activate, once the hub accepts both. The node starts to use them and proves it by a call to the hub that is signed with the new token and
 * arrives through the new key. Answers immediately, {"activating": true}; may be repeated.
 */
export interface NodeActivateKeys {
  readonly rotation_id: string;
}
