import type { KeyedDigest } from './content-digest.js';

/**
 * What hub and node say to each other: bodies of the node's own API and of the telemetry it pushes to the hub.
 * Both sides validate what they receive; a body that does not fit is a broken peer, not a fact.
 */

/** Zeroes are told from data in this grain, in bytes: that of the clusters of a backup's files. */
export const CONTENT_GRAIN = 65_536;

/** A run of which a content digest is made ends at multiples of this, in bytes. A power of two, and the size of a request of a copy across a network. */
export const CONTENT_BLOCK = 262_144;

/** What a copy has sent for a disk. */
export type NodeContentDigest = KeyedDigest;

/** GET /api/v1/health */
export interface NodeHealth {
  readonly status: 'ok';
  readonly node_id: string;
  readonly version: string;
  /** ISO 8601, UTC, by the node's clock. */
  readonly time: string;
  readonly active_jobs: number;
  /** `none`, or opaque; another value than before: `GET /change-ids` has something new in `swept` or `vm_problems`. Left out by older nodes. */
  readonly findings?: string;
}

export interface NodeDisk {
  /** From 0. */
  readonly disk_id: number;
  /** Stable name of the disk at its source; for `image` the file's name. */
  readonly disk_key: string;
  /** Virtual size in bytes. */
  readonly size_bytes: number;
  readonly format: 'qcow2' | 'raw';
  readonly path: string;
  /** True for formats that carry persistent bitmaps. */
  readonly change_tracking: boolean;
  /** Change ids that are valid at the source now. */
  readonly change_ids: readonly string[];
  /** Change ids that exist but cannot be trusted (the image was not closed cleanly while they recorded). */
  readonly broken_change_ids: readonly string[];
  /** Why this disk cannot be backed up just now; null when it can. */
  readonly problem: { readonly code: string; readonly detail: string } | null;
  /** What the node knows of change ids that are no longer valid for this disk, and why. A change id that is gone without a trace is in none of the lists. */
  readonly change_id_problems?: readonly { readonly change_id: string; readonly code: NodeChangeIdProblem; readonly detail: string }[];
}

export const NODE_CHANGE_ID_PROBLEMS = ['change_id_lost', 'change_id_broken', 'checkpoint_lost', 'disk_replaced', 'snapshot_changed'] as const;

/**
 * Why a change id does not say what has changed any more. `change_id_lost`: its bitmap is gone; `change_id_broken`: not closed cleanly while it recorded; `checkpoint_lost`: the
 * hypervisor has forgotten it (the VM was defined anew, say); `disk_replaced`: another file or device is under the same name;
 * `snapshot_changed`: snapshots were made, reverted or removed, and the record lies in another file.
 */
export type NodeChangeIdProblem = (typeof NODE_CHANGE_ID_PROBLEMS)[number];

export const NODE_SOURCES = ['image', 'libvirt'] as const;

/** Hypervisors that a node may speak to. `image`: a folder of disk files of a powered-off VM; `libvirt`: a libvirt domain, running or not. */
export type NodeSource = (typeof NODE_SOURCES)[number];

export const NODE_VM_STATES = ['running', 'paused', 'shut_off', 'crashed', 'other'] as const;
export type NodeVmState = (typeof NODE_VM_STATES)[number];

/** How the hypervisor itself describes the VM: what is needed to make it again, without secrets. */
export type NodeVmDefinition = {
  /** `libvirt-domain-xml`: as `virsh dumpxml --inactive` without `--security-info` prints it. */
  readonly format: 'libvirt-domain-xml';
  readonly text: string;
};

/** A device of the VM that is no part of its backups. */
export type NodeLeftOutDisk = {
  readonly disk_key: string;
  /** For example `cdrom`, `floppy`, `read_only`, `shared`, `passthrough`, `network_disk`. */
  readonly reason: string;
  readonly detail: string;
};

export interface NodeVm {
  readonly name: string;
  readonly source: NodeSource;
  /** What the node calls the VM, and the VM's identity: for `image` the absolute path of its folder, for `libvirt` the domain's uuid. */
  readonly source_ref: string;
  readonly disks: readonly NodeDisk[];
  /** Lower case. Left out where the source has none. */
  readonly uuid?: string;
  /** Left out where the source does not know. */
  readonly state?: NodeVmState;
  /** Only where one VM was asked for, and the source has one. */
  readonly definition?: NodeVmDefinition;
  readonly left_out_disks?: readonly NodeLeftOutDisk[];
}

/** GET /api/v1/vms, optionally ?source_ref=<one VM>&source=<its source; without it the form of source_ref tells> */
export interface NodeVmList {
  readonly vms: readonly NodeVm[];
  /** Sources that could not be asked, or had not answered in time: their VMs are missing. Left out where all have answered, and by older nodes. */
  readonly silent_sources?: readonly { readonly source: NodeSource; readonly code: string; readonly detail: string }[];
}

/** POST /api/v1/backup/start. Idempotent by job_id: a second call answers with the job as it stands. */
export interface NodeStartBackup {
  readonly job_id: string;
  readonly hub_id: string;
  readonly vm: { readonly vm_id: string; readonly name: string; readonly source: NodeSource; readonly source_ref: string };
  /**
   * `<disk_key>:<URI>,...`; disk keys are percent-encoded as by encodeURIComponent, so that `:` and `,` in them do no harm. The URI is `nbds://<host>:<port>/<export_name>` for a port
   * that takes TLS with the disk's export_key, or `nbd+unix:///<export_name>?socket=<path>` where hub and node are one machine and one account.
   */
  readonly nbd_targets_string: string;
  readonly disks: readonly {
    readonly disk_key: string;
    /** Virtual size the target was made for; another size at the source fails the job with disk_resized. */
    readonly size_bytes: number;
    /** null: full. */
    readonly parent_change_id: string | null;
    /** The pre-shared key of the target, 64 hexadecimal digits: exactly where its URI is nbds. A secret, kept out of journals and logs. */
    readonly export_key?: string;
  }[];
  /** Whether the guest's file systems are frozen at the instant. Left out: `none`. `try`: without it where it cannot be; `require`: the backup fails instead. */
  readonly quiesce?: NodeQuiesce;
  /** Most bytes per second that all disks of the job together are read with. Left out: no limit. */
  readonly bandwidth_limit_bps?: number;
}

export const NODE_QUIESCE = ['none', 'try', 'require'] as const;
export type NodeQuiesce = (typeof NODE_QUIESCE)[number];

/** What became of the wish to freeze the guest's file systems. `not_quiesced`: the detail says why not. */
export type NodeQuiesceOutcome = {
  readonly outcome: 'quiesced' | 'not_quiesced';
  readonly detail: string;
};

export type NodeJobStatus = 'starting' | 'running' | 'completed' | 'failed' | 'cancelled';
export type NodeDiskStatus = 'pending' | 'running' | 'completed' | 'failed';

/** GET /api/v1/backup/{job_id}, and the body of POST /telemetry/backup/{job_id} at the hub. The whole truth of the job each time, so one may get lost. */
export interface NodeJobReport {
  readonly job_id: string;
  readonly status: NodeJobStatus;
  /** `snapshot`, `transfer`, `release`, `done` */
  readonly current_phase: string;
  /** The one instant of all disks; null before the snapshot stands. ISO 8601, UTC. */
  readonly instant: string | null;
  /** True once the servers that read the source are gone and its disks are free again. A job's terminal status is reported only then. */
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
    /** Bytes that this backup moves for the disk: allocated (full) or changed (incremental). */
    readonly total_bytes: number;
    /** The change id that names "everything since this backup's instant"; null where the source cannot track. */
    readonly change_id: string | null;
    readonly error: { readonly code: string; readonly detail: string } | null;
    /**
     * Of a completed disk, what its copy sent to the target, and the key by which the hub finds out whether the file holds just that. Left out by a node next to the hub, and by
     * versions that know of none.
     */
    readonly content?: NodeContentDigest;
  }[];
  readonly error: { readonly code: string; readonly detail: string } | null;
  /** Left out before the snapshot stands, and where it was not asked for. */
  readonly quiesce?: NodeQuiesceOutcome;
  /** Grows with every change of the job; an older report never overwrites a newer one. */
  readonly sequence: number;
  readonly timestamp: string;
}

/**
 * POST /api/v1/backup/{job_id}/settle, once the hub has sealed or given up the run. Stops the job if it still runs (then only with `discarded`), removes
 * every change id of this hub (`sendense-<first 8 of hub_id>-...`) on the VM's disks that is not in keep_change_ids, and forgets the job. Idempotent,
 * also for a job the node has never heard of. Answer: {"settled": true}.
 */
export interface NodeSettleBackup {
  readonly hub_id: string;
  readonly outcome: 'committed' | 'discarded';
  readonly vm: { readonly source: NodeSource; readonly source_ref: string };
  readonly keep_change_ids: readonly string[];
}

/**
 * GET /api/v1/change-ids?hub_id=<hub>: every change id of this hub that the node finds at its VMs, those of running jobs included. What is asked first and decided on
 * afterwards cannot hit one that was made in between.
 */
export interface NodeChangeIds {
  readonly vms: readonly { readonly source: NodeSource; readonly source_ref: string; readonly name: string; readonly change_ids: readonly string[] }[];
  /** In words: what the node found without an owner (backup jobs, scratch files) and removed, since it was last told that this is known. */
  readonly swept: readonly string[];
  /** All there are now. Left out by older nodes. */
  readonly vm_problems?: readonly NodeVmProblem[];
}

/** Why a VM cannot be backed up until somebody has done what the detail says. */
export type NodeVmProblem = {
  readonly source: NodeSource;
  readonly source_ref: string;
  readonly code: string;
  readonly detail: string;
};

/** POST /api/v1/change-ids/remove: the hub names each one that no chain and no unfinished run needs. The node spares those of jobs that it has not settled. */
export interface NodeRemoveChangeIds {
  readonly hub_id: string;
  readonly vms: readonly { readonly source: NodeSource; readonly source_ref: string; readonly change_ids: readonly string[] }[];
  /** Of NodeChangeIds, what the hub has taken note of. */
  readonly known_swept: readonly string[];
}

/** What is gone now. One that could not be removed (its disk is in use, say) is not in it and is found again next time. */
export interface NodeChangeIdsRemoved {
  readonly removed: readonly { readonly source: NodeSource; readonly source_ref: string; readonly change_id: string }[];
}

/** Name of the change id (QCOW2 bitmap, libvirt checkpoint) that a backup job sets at its instant. A source may append a dot and what tells its disks apart. */
export function changeIdOf(hubId: string, jobId: string): string {
  return `${changeIdPrefix(hubId)}${jobId}`;
}

/** The backup job that has set a change id of this hub. */
export function jobOfChangeId(hubId: string, changeId: string): string {
  return changeId.slice(changeIdPrefix(hubId).length).split('.', 1)[0] ?? '';
}

export function changeIdPrefix(hubId: string): string {
  return `sendense-${hubId.slice(0, 8)}-`;
}

/** A part of a definition that could not stay as it was; the code is stable. */
export type NodeDefinitionChange = {
  readonly code: string;
  readonly detail: string;
};

export const NODE_VM_NETWORKS = ['keep', 'disconnected', 'none'] as const;
/** How the network interfaces of a restored VM are: as they were, with their links down, or gone. */
export type NodeVmNetwork = (typeof NODE_VM_NETWORKS)[number];

/** POST /api/v1/vm-restores/start. Idempotent by job_id: a second call answers with the job as it stands. */
export interface NodeStartVmRestore {
  readonly job_id: string;
  readonly definition: NodeVmDefinition;
  readonly name: string;
  /** null: the one in the definition. */
  readonly uuid: string | null;
  /** Whether MAC addresses stay as they were. */
  readonly keep_identity: boolean;
  readonly start: boolean;
  readonly network: NodeVmNetwork;
  /** Every interface is attached to this libvirt network; null: to what it was attached to. */
  readonly libvirt_network: string | null;
  /** Absolute path of an existing folder of the node that the disks are copied to; null: the VM uses the NBD exports for as long as it exists. */
  readonly storage_path: string | null;
  readonly disks: readonly {
    readonly disk_key: string;
    readonly size_bytes: number;
    /** NBD URI of the content: nbds where the port takes TLS with the disk's export_key alone. */
    readonly uri: string;
    /** As of NodeStartBackup. */
    readonly export_key?: string;
    /** Name in storage_path; null exactly when that is. */
    readonly file_name: string | null;
  }[];
}

export type NodeVmRestoreStatus = 'running' | 'completed' | 'failed' | 'cancelled';
export type NodeVmRestorePhase = 'copying' | 'defining' | 'undoing' | 'done';

/**
 * GET /api/v1/vm-restores/{job_id}. `completed`: the domain is defined and its disks are checked; `failed` and `cancelled` are told only once nothing of the job is left
 * but its journal.
 */
export interface NodeVmRestoreReport {
  readonly job_id: string;
  readonly status: NodeVmRestoreStatus;
  readonly phase: NodeVmRestorePhase;
  readonly disks: readonly {
    readonly disk_key: string;
    readonly status: 'pending' | 'copying' | 'comparing' | 'completed';
    /** Of the copy, 0 to 100. */
    readonly percent: number;
    /** Absolute path at the node; null before the file has its name, and for an NBD disk. */
    readonly file: string | null;
  }[];
  readonly domain: { readonly name: string; readonly uuid: string } | null;
  readonly changes: readonly NodeDefinitionChange[];
  /** Why the finished VM could not be started; null: it was started, or was not to be. */
  readonly start_error: { readonly code: string; readonly detail: string } | null;
  readonly error: { readonly code: string; readonly detail: string } | null;
}

/**
 * POST /api/v1/vm-restores/{job_id}/settle. `keep`: what a completed job has made stays, and the job is forgotten. `discard`: the job is stopped, its domain and files are
 * removed, also those of a completed one, and it is forgotten. Idempotent, also for a job the node has never heard of. Answer: {"settled": true}.
 */
export interface NodeSettleVmRestore {
  readonly outcome: 'keep' | 'discard';
}

/** POST /api/v1/boot-checks/start. Idempotent by check_id. */
export interface NodeStartBootCheck {
  readonly check_id: string;
  readonly vm_name: string;
  readonly definition: NodeVmDefinition;
  /** NBD URIs that may be written to, with keys as of NodeStartVmRestore; the content is thrown away. */
  readonly disks: readonly { readonly disk_key: string; readonly size_bytes: number; readonly uri: string; readonly export_key?: string }[];
  /** Either sign is enough; at least one is asked for. */
  readonly console_text: string | null;
  readonly guest_agent: boolean;
  /** From the moment when the domain runs. */
  readonly timeout_seconds: number;
  /** null: as much as the VM has. */
  readonly memory_mib: number | null;
}

/** `booted`, `not_booted`: the verdict; `failed`: it could not be found out. Told only once the domain is gone. */
export type NodeBootCheckStatus = 'running' | 'booted' | 'not_booted' | 'failed';

/** GET /api/v1/boot-checks/{check_id} */
export interface NodeBootCheckReport {
  readonly check_id: string;
  readonly status: NodeBootCheckStatus;
  /** The sign of life that was seen; null: none. */
  readonly sign: 'console_text' | 'guest_agent' | null;
  /** What was seen, for people. */
  readonly detail: string;
  /** From the domain's start to the verdict. */
  readonly seconds: number;
  readonly changes: readonly NodeDefinitionChange[];
  readonly error: { readonly code: string; readonly detail: string } | null;
}

/** GET /api/v1/boot-checks/{check_id}/artefacts, of one that has ended. */
export interface NodeBootCheckArtefacts {
  /** What the serial console has shown; of a long one beginning and end. */
  readonly console_base64: string;
  /** null: there is none, and why. */
  readonly screenshot_base64: string | null;
  readonly screenshot_type: 'image/png' | 'image/x-portable-pixmap' | null;
  readonly screenshot_problem: string | null;
}

/** POST /api/v1/tunnel-ports: what an enrolled node's tunnel is to lead to at the hub. Takes effect by itself; may be repeated. */
export interface NodeTunnelPorts {
  readonly hub_api_port: number;
  readonly nbd_port_first: number;
  readonly nbd_port_count: number;
}

export interface NodeTunnelPortsTaken {
  readonly changed: boolean;
}

/** POST /api/v1/keys/prepare: the node makes a new key and a new token, and uses neither yet. The same rotation again gives the same ones. */
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
 * POST /api/v1/keys/activate, once both count at the hub. The node puts them to use and shows so by a call to the hub that is signed with the new token and comes through
 * the new key. Answers at once, {"activating": true}; may be repeated.
 */
export interface NodeActivateKeys {
  readonly rotation_id: string;
}
