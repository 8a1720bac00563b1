import { Matches } from 'class-validator';
import { IsInstant } from '../../../../contract/validation/instant.decorator.js';
import { Part } from '../../../../contract/validation/member.decorators.js';
import { Optional, OptionalOrNull } from '../../../../contract/validation/presence.decorators.js';
import { CreatePolicyDto } from '../model/policy.dto.js';
import { KEEP_WITHIN } from '../model/retention-periods.plan.js';

export class WhatIfDto {
  /** How far to look ahead, at most three years: hours, days of 24 hours, or weeks @example "365d" */
  @Optional()
  @Matches(KEEP_WITHIN, { message: 'horizon must be a number of hours, days or weeks, such as 48h, 365d or 52w' })
  readonly horizon: string = '365d';

  /** Also look back: as if the policy had been in force since then; null: do not look back @example "2026-06-01T00:00:00.000Z" */
  @OptionalOrNull()
  @IsInstant()
  readonly since?: string | null;

  /** An edit to try: all settings that the policy would have. Without it, the policy as it is */
  @Optional()
  @Part(() => CreatePolicyDto)
  readonly settings?: CreatePolicyDto;
}

export class WhatIfVmResponse {
  /** @example "0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b" */ readonly vm_id!: string;
  /** @example "pgtest1" */ readonly vm_name!: string;
}

export class WhatIfVmListResponse {
  /** @example 2 */ readonly count!: number;
  /** The first 100 of them */ readonly first!: readonly WhatIfVmResponse[];
}

export class WhatIfVmsResponse {
  /** VMs that the policy selects at some time within the horizon @example 40 */ readonly selected!: number;
  /** Those of them without a full in the policy's repository: how large their backups would be is unknown, so they are left out of all figures */
  readonly without_history!: WhatIfVmListResponse;
  /** Those of them whose restore points in the repository are all fulls: only fulls are expected of them */
  readonly only_fulls!: WhatIfVmListResponse;
}

export class WhatIfRunResponse {
  /** @example "2026-12-24T21:00:00.000Z" */ readonly due_at!: string;
  /** The planned time in the time zone of the policy @example "2026-12-24T22:00" */ readonly wall_time!: string;
  /** `moved`: it starts at the end of a blackout */ readonly outcome!: 'on_time' | 'moved' | 'skipped';
  /** As in `GET /policies/{id}/occurrences`; null: it starts @example "blackout" */ readonly reason!: string | null;
  /** null: it does not start @example "2026-12-24T21:00:00.000Z" */ readonly started_at!: string | null;
}

export class WhatIfRunListResponse {
  /** @example 3 */ readonly count!: number;
  /** The first 100 of them */ readonly first!: readonly WhatIfRunResponse[];
}

export class WhatIfReasonResponse {
  /** @example "blackout" */ readonly reason!: string;
  /** @example 3 */ readonly runs!: number;
}

export class WhatIfRunsResponse {
  /** @example 365 */ readonly expected!: number;
  /** @example 362 */ readonly on_time!: number;
  /** Started later, because a blackout defers them @example 0 */ readonly moved!: number;
  /** @example 3 */ readonly skipped!: number;
  /** Of those that are skipped */ readonly by_reason!: readonly WhatIfReasonResponse[];
  /** Those that are moved or skipped */ readonly not_on_time!: WhatIfRunListResponse;
  /** Backups left out of runs, because the place of the VM in the spread is outside the start window @example 0 */ readonly starts_outside_window!: number;
  /** Incrementals that the policy asks for and that are not possible @example 0 */ readonly refused_backups!: number;
}

export class WhatIfGapResponse extends WhatIfVmResponse {
  /** The greatest age that the newest good restore point reaches @example 129600 */ readonly worst_gap_seconds!: number;
  /** When that restore point was made @example "2026-12-23T21:00:00.000Z" */ readonly gap_from!: string;
  /** When the next one is made, or the horizon ends @example "2026-12-25T09:00:00.000Z" */ readonly gap_until!: string;
}

export class WhatIfGapListResponse {
  /** @example 1 */ readonly count!: number;
  /** The 100 with the worst gaps */ readonly first!: readonly WhatIfGapResponse[];
}

export class WhatIfRpoResponse {
  /** @example 86400 */ readonly rpo_seconds!: number;
  /** VMs whose newest good restore point becomes too old at some time */ readonly violations!: WhatIfGapListResponse;
}

export class WhatIfMostResponse {
  /** @example 1040 */ readonly points!: number;
  /** @example 2199023255552 */ readonly bytes!: number;
}

export class WhatIfKeptResponse {
  /** What keeps them @example "keep_daily" */ readonly rule!: string;
  /** A restore point that several rules keep counts for each @example 280 */ readonly points!: number;
}

export class WhatIfDayResponse {
  /** In the time zone of the policy @example "2026-11-24" */ readonly day!: string;
  /** Restore points made on that day @example 40 */ readonly made!: number;
  /** Restore points that expire on that day @example 40 */ readonly expired!: number;
  /** Restore points whose files are removed on that day @example 38 */ readonly removed!: number;
  /** That exist at its end, expired ones included @example 560 */ readonly points!: number;
  /** Length of their files @example 1099511627776 */ readonly bytes!: number;
}

export class WhatIfForwardResponse {
  /** @example "2026-11-24T12:00:00.000Z" */ readonly from!: string;
  /** @example "2027-11-24T12:00:00.000Z" */ readonly until!: string;
  readonly vms!: WhatIfVmsResponse;
  readonly runs!: WhatIfRunsResponse;
  /** Of the repository, now; null: it cannot be reached @example 549755813888 */ readonly free_bytes!: number | null;
  /** The first day at whose end the repository would lack space, if nothing else grew in it; null: not within the horizon, or the free space is unknown @example "2027-08-02" */
  readonly full_on!: string | null;
  /** null: the policy promises none */ readonly rpo!: WhatIfRpoResponse | null;
  /** Of all days */ readonly greatest!: WhatIfMostResponse;
  /** The restore points that are kept at the end */ readonly kept_by!: readonly WhatIfKeptResponse[];
  /** Each day of the horizon; the first and the last are not whole */ readonly days!: readonly WhatIfDayResponse[];
}

export class WhatIfPointCountsResponse {
  /** Restore points of policies that existed at `since` or later @example 240 */ readonly existed!: number;
  /** Those of them that would exist today @example 90 */ readonly would_exist!: number;
  /** Those that exist, and would not @example 30 */ readonly only_now!: number;
  /** Those that do not exist, and would @example 4 */ readonly only_then!: number;
}

export class WhatIfPointResponse extends WhatIfVmResponse {
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly backup_id!: string;
  /** The instant common to its disks @example "2026-11-21T10:30:02.120Z" */ readonly snapshot_instant!: string;
  /** Whether it exists today */ readonly exists!: boolean;
  /** Whether it would exist today */ readonly would_exist!: boolean;
  /** What would keep it; empty: nothing @example ["keep_daily"] */ readonly kept_by!: readonly string[];
  /** When it would have been removed; null: it would exist @example "2026-11-20T22:05:00.000Z" */
  readonly gone_at!: string | null;
}

export class WhatIfRestoreResponse {
  /** `disks` and `vm` are restore jobs */
  readonly kind!: 'disks' | 'vm' | 'mount' | 'export';
  /** Id of the restore job, the mount or the export @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a12" */ readonly restore_id!: string;
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly backup_id!: string;
  /** @example "pgtest1" */ readonly vm_name!: string;
  /** @example "2026-11-22T08:00:00.000Z" */ readonly requested_at!: string;
  /** When its restore point would have been removed @example "2026-11-20T22:05:00.000Z" */ readonly gone_at!: string;
}

export class WhatIfRestoresResponse {
  /** Restores since then that read one of these restore points @example 3 */ readonly made!: number;
  /** Those of them whose restore point would have been gone @example 1 */ readonly impossible!: number;
  /** The first 1,000 impossible ones */ readonly first!: readonly WhatIfRestoreResponse[];
}

export class WhatIfBackwardResponse {
  /** @example "2026-06-01T00:00:00.000Z" */ readonly since!: string;
  readonly restore_points!: WhatIfPointCountsResponse;
  /** At most 1,000 of them; those that exist and would not, or the other way round, come first */ readonly points!: readonly WhatIfPointResponse[];
  readonly restores!: WhatIfRestoresResponse;
}

export class WhatIfResponse {
  /** @example "0199a3c0-5511-7c3e-8a55-9b1d3c1f0e5b" */ readonly policy_id!: string;
  /** The version that is simulated; with `settings` the one that the edit would make @example 2 */ readonly version!: number;
  readonly forward!: WhatIfForwardResponse;
  /** null: `since` is not given */ readonly backward!: WhatIfBackwardResponse | null;
}
