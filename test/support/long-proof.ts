/** Whether tests that repeat themselves do so as often as the long proof asks for (`bin/proof`), or only as often as every run can afford. */
export const IS_LONG = process.env['SENDENSE_PROOF'] === 'full';

export function times(short: number, long: number): number {
  return IS_LONG ? long : short;
}

/** Cases that take their time and go the ways of others are left to the long proof. */
export function casesOf<Case extends { readonly onlyInLongProof?: boolean }>(cases: readonly Case[]): readonly Case[] {
  return cases.filter(({ onlyInLongProof = false }) => IS_LONG || !onlyInLongProof);
}

/** Declares tests for the long proof alone. */
export function inLongProof(declare: () => void): void {
  if (IS_LONG) declare();
}
