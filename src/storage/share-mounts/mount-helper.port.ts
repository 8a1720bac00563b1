import { DomainError } from '../../kernel/domain-error.js';
import type { MountFailure, Share } from './share-mount.plan.js';

export type MountedShare = {
  /** Mount point. */
  readonly path: string;
  /** Of the protocol; null: the mount table does not name it. */
  readonly version: string | null;
};

export type MountHelperStatus = {
  /** Folder of the mount points. */
  readonly directory: string;
  /** Names of the mount points, also of those at which no share is mounted at present. */
  readonly mounted: readonly string[];
};

/** Mounts shares at mount points of its own, each named by a UUID. Every call may be repeated. */
export interface MountHelper {
  /** Does nothing when exactly this share is mounted there. @throws DomainError `share_not_mounted`, facts.reason: MountFailure */
  mount(name: string, share: Share): Promise<MountedShare>;
  /** Unmounts whatever is mounted there, without waiting for a server that does not answer, and removes the mount point. */
  unmount(name: string): Promise<void>;
  status(): Promise<MountHelperStatus>;
}

/** Reasons that the request itself has to change for, or the machine. */
const PERMANENT: ReadonlySet<MountFailure> = new Set([
  'version_unsupported',
  'access_denied',
  'not_exported',
  'client_missing',
  'credentials_invalid',
  'mount_point_unsafe',
]);

export function notMounted(reason: MountFailure, detail: string): DomainError {
  return new DomainError(PERMANENT.has(reason) ? 'invalid' : 'unavailable', 'share_not_mounted', detail, { reason });
}
