import type { NameEncoding } from './guest-name.js';

export type GuestFileType = 'file' | 'directory' | 'symlink' | 'block_device' | 'char_device' | 'fifo' | 'socket' | 'unreadable';

/** A file, directory or other entry of the guest. Its texts are encoded as `name_encoding` states. */
export type GuestFile = {
  readonly name: string;
  /** From the root of the file system; begins with a slash. */
  readonly path: string;
  readonly name_encoding: NameEncoding;
  readonly type: GuestFileType;
  /** In bytes. */
  readonly size: number;
  /** Permissions in octal, with the special bits: `0755`. */
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
  /** ISO 8601, UTC; null when the stored time is out of range. */
  readonly modified_time: string | null;
  readonly is_symlink: boolean;
  readonly link_target: string | null;
};

/** A path from a client. */
export interface PathText {
  readonly path: string;
  readonly encoding: NameEncoding;
}

export interface ListRequest extends PathText {
  readonly recursive: boolean;
  readonly limit: number;
  /** The last entry of the previous page, one character per byte: its name, or in a recursive listing its path relative to the listed directory. */
  readonly after: string | null;
}

export interface GuestPage {
  readonly path: string;
  readonly name_encoding: NameEncoding;
  readonly files: readonly GuestFile[];
  /** null: counting the whole tree would take too long. */
  readonly total_count: number | null;
  /** null on the last page. */
  readonly next_after: string | null;
}

export type BrowserErrorCode =
  | 'path_invalid'
  | 'file_not_found'
  | 'not_a_directory'
  | 'not_a_regular_file'
  | 'link_leaves_mount'
  | 'link_loop'
  | 'path_too_long'
  | 'file_unreadable'
  | 'mount_silent'
  | 'mount_gone';

export type BrowserRequest =
  | { readonly kind: 'list'; readonly request: ListRequest }
  /** `followed`: describe the target of a link instead of the link. */
  | { readonly kind: 'info'; readonly request: PathText & { readonly followed: boolean } };

export type StreamRequest =
  /** `length` bytes from `start` on. */
  | (PathText & { readonly kind: 'file'; readonly start: number; readonly length: number })
  | (PathText & { readonly kind: 'archive'; readonly format: 'zip' | 'tar.gz' });

/** Written by a stream process to its standard error, as one line, before it exits with 1. */
export interface StreamFailure {
  readonly code: BrowserErrorCode;
  readonly message: string;
}

export class BrowserError extends Error {
  override readonly name = 'BrowserError';
  readonly code: BrowserErrorCode;
  /** Whether the call was abandoned because no answer arrived in time. */
  readonly abandoned: boolean;

  constructor(code: BrowserErrorCode, message: string, abandoned = false) {
    super(message);
    this.code = code;
    this.abandoned = abandoned;
  }
}
