export const NODE_SOURCES = ['image', 'libvirt'] as const;
/** Hypervisors that a node supports. `image`: a folder with the disk files of a powered-off VM; `libvirt`: a libvirt domain, running or not. */
export type NodeSource = (typeof NODE_SOURCES)[number];

export const NODE_VM_STATES = ['running', 'paused', 'shut_off', 'crashed', 'other'] as const;
export type NodeVmState = (typeof NODE_VM_STATES)[number];

export const NODE_CHANGE_ID_PROBLEMS = ['change_id_lost', 'change_id_broken', 'checkpoint_lost', 'disk_replaced', 'snapshot_changed'] as const;
/**
 * Why a change id no longer identifies the changes. `change_id_lost`: its bitmap is gone; `change_id_broken`: not closed cleanly while it recorded;
 * `checkpoint_lost`: the hypervisor no longer has it (for example, the VM was defined again); `disk_replaced`: another file or device now has the same name;
 * `snapshot_changed`: snapshots were created, reverted or removed, and the record is in another file.
 */
export type NodeChangeIdProblem = (typeof NODE_CHANGE_ID_PROBLEMS)[number];

export const NODE_QUIESCE = ['none', 'try', 'require'] as const;
export type NodeQuiesce = (typeof NODE_QUIESCE)[number];

export const NODE_JOB_STATUSES = ['starting', 'running', 'completed', 'failed', 'cancelled'] as const;
export type NodeJobStatus = (typeof NODE_JOB_STATUSES)[number];

export const NODE_DISK_STATUSES = ['pending', 'running', 'completed', 'failed'] as const;
export type NodeDiskStatus = (typeof NODE_DISK_STATUSES)[number];

export const NODE_VM_NETWORKS = ['keep', 'disconnected', 'none'] as const;
/** Network interfaces of a restored VM: unchanged, with their links down, or removed. */
export type NodeVmNetwork = (typeof NODE_VM_NETWORKS)[number];

export const NODE_VM_RESTORE_STATUSES = ['running', 'completed', 'failed', 'cancelled'] as const;
export type NodeVmRestoreStatus = (typeof NODE_VM_RESTORE_STATUSES)[number];

export const NODE_VM_RESTORE_PHASES = ['copying', 'defining', 'undoing', 'done'] as const;
export type NodeVmRestorePhase = (typeof NODE_VM_RESTORE_PHASES)[number];

export const NODE_TUNNEL_STATES = ['connecting', 'up', 'degraded', 'down'] as const;
export type NodeTunnelState = (typeof NODE_TUNNEL_STATES)[number];

/** Id of a job or check; safe as a directory name. */
export const JOB_ID = /^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/;
/** 32 random bytes, or a digest, in hexadecimal. */
export const HEX_32_BYTES = /^[0-9a-f]{64}$/;
export const WITHOUT_NUL = /^[^\0]+$/;
export const NODE_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
export const NODE_TOKEN = /^[A-Za-z0-9_-]{43,128}$/;
export const KEY_FINGERPRINT = /^SHA256:[A-Za-z0-9+/]{43}$/;
export const MAX_PORT = 65_535;
export const ED25519_PUBLIC_KEY = /^ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}$/;

/** A message's data without its class, as events store it. */
export type Plain<Message> = Pick<Message, keyof Message>;
