export class NextOccurrenceResponse {
  /** @example "2026-11-21T21:00:00.000Z" */ readonly at!: string;
  /** In the policy's time zone, even if the clock skips it; for `every N` in UTC @example "2026-11-21T22:00" */ readonly wall_time!: string;
}

export class ChosenVmResponse {
  /** @example "0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b" */ readonly vm_id!: string;
  /** @example "pgtest1" */ readonly vm_name!: string;
  /** The rule that selects it, or why it is left out @example "name pg*" */ readonly because!: string;
}

export class PolicyPreviewResponse {
  /** @example "0199a3c0-5511-7c3e-8a55-9b1d3c1f0e5b" */ readonly policy_id!: string;
  /** @example 1 */ readonly version!: number;
  /** @example "Backs up 2 VMs into repository \"main\": daily at 22:00 (Europe/Berlin)." */ readonly sentence!: string;
  /** The next five */ readonly next_occurrences!: NextOccurrenceResponse[];
  /** The VMs that a run would back up now */ readonly vms!: ChosenVmResponse[];
  /** VMs that a rule includes and that are left out nevertheless */ readonly left_out!: ChosenVmResponse[];
}
