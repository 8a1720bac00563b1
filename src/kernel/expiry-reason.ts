/** Why a rule of a retention does not keep a restore point or a copy. These words are part of the API and stable. */
export type ExpiryReason = {
  readonly rule: 'keep_last' | 'keep_within' | 'keep_daily' | 'keep_weekly' | 'keep_monthly' | 'keep_yearly';
  /** `exceeded`: enough newer ones are kept, or it is too old. `not_first`: another one is the daily, weekly, ... of its period. */
  readonly outcome: 'exceeded' | 'not_first';
  /** Such as `2026-11-24` or `2026-W48`; null: the rule has no periods. */
  readonly period: string | null;
};
