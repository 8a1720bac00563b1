import type { RestoreMountStatus } from '../../../../../projections/restore-mounts/restore-mounts.read-model.js';

/** States in which the machine may hold resources of the mount. Each such mount occupies a slot. */
export const ACTIVE_MOUNTS = ['mounting', 'mounted', 'unmounting'] as const satisfies readonly RestoreMountStatus[];
