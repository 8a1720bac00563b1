import type { DigestList } from '../hashing/block-digests.js';

/** What a copied file must be, as a manifest describes it. */
export interface SealedContent {
  readonly size_bytes: number;
  /** Of the whole file, lower-case hex. */
  readonly sha256: string;
  /** null: format 1, which has no digests of blocks. */
  readonly blocks: DigestList | null;
}

/** One file to copy, or to read back. */
export interface FileCopyTask {
  /** null: the target is complete already, and is only read back. */
  readonly source: string | null;
  readonly target: string;
  readonly content: SealedContent;
  /** The list of block digests next to the source, and next to the target; null in format 1. */
  readonly lists: { readonly source: string; readonly target: string } | null;
  /** Modification time that the target gets, nanoseconds since 1970, decimal. */
  readonly mtime_ns: string;
  /** null: not limited. */
  readonly bytes_per_second: number | null;
}

export interface FileCopyResult {
  /** Written by this call. */
  readonly written_bytes: number;
  /** Found at the target with the right digests. */
  readonly kept_bytes: number;
}

/** Codes with which the process fails, besides those of the system. */
export const SOURCE_ALTERED = 'source_altered';
export const COPY_DIFFERS = 'copy_differs';
