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

/** One damaged file to write again, next to the old one: its sound blocks, and the others from the first source that has them. */
export interface FileHealTask {
  /** May be missing, or unreadable in parts. */
  readonly damaged: string;
  /** The same file in other places, each of which may be damaged too. */
  readonly sources: readonly string[];
  /** Replaced if it exists. */
  readonly target: string;
  readonly content: SealedContent;
  /** Lists of block digests, of which one is proven by its root, and where that one is written; null in format 1, in which one source must be sound as a whole. */
  readonly lists: { readonly candidates: readonly string[]; readonly target: string } | null;
  /** Whether the file is sound and only the list of its digests is written. */
  readonly only_list: boolean;
  /** As in FileCopyTask. */
  readonly mtime_ns: string;
}

/** A part of the healed file that came from a source. */
export interface HealedRange {
  readonly offset_bytes: number;
  readonly length_bytes: number;
  /** Index in `sources`. */
  readonly source: number;
}

/** Codes with which the process fails, besides those of the system. */
export const SOURCE_ALTERED = 'source_altered';
export const COPY_DIFFERS = 'copy_differs';
/** No source has what the damaged file lacks. */
export const NOTHING_SOUND = 'nothing_sound';
/** Precedes the system's code of an error in reading the source. */
export const OF_SOURCE = 'source/';
