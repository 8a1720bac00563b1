/** What was written again in a damaged restore point, and from where. */
export type HealedFile = {
  /** Relative to the repository. */
  readonly file: string;
  /** The repositories that the content came from. */
  readonly from_repository_ids: readonly string[];
  readonly healed_bytes: number;
  /** The parts that came from there, at most the first 16; empty: the file has no blocks. */
  readonly ranges: readonly { readonly offset_bytes: number; readonly length_bytes: number }[];
};
