/**
 * - `tool_missing`: not installed, not in PATH, or not executable; permanent until somebody installs it
 * - `tool_failed`: it ended with a code that its caller did not expect
 * - `tool_timeout`: it was killed at its deadline; trying again may help
 */
export type ToolErrorCode = 'tool_missing' | 'tool_failed' | 'tool_timeout';

/** Standard error kept of a failed tool, in bytes. */
export const STDERR_TAIL_BYTES = 4096;

/** A tool did not do what was asked of it. Never holds a secret: secrets never reach an argv. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
  readonly tool: string;
  /** True when the same call may succeed later without anybody's help. */
  readonly retryable: boolean;

  constructor(
    readonly code: ToolErrorCode,
    readonly argv: readonly [string, ...string[]],
    /** null: killed by a signal, or never started. */
    readonly exitCode: number | null,
    /** The end of its standard error, 4 KiB at most. */
    readonly stderrTail: string,
    reason: string,
    /** The signal that ended it, sent by somebody else; null: none did. */
    readonly endedBy: string | null = null,
  ) {
    super(`${argv[0]} ${reason}${stderrTail.trim() === '' ? '' : `: ${stderrTail.trim()}`}`);
    this.tool = argv[0];
    this.retryable = code === 'tool_timeout';
  }
}

/** The end of what a tool wrote, fit to be stored: no NUL, no half characters. */
export function textTail(text: string): string {
  const bytes = Buffer.from(text, 'utf8');
  const tail = bytes.length <= STDERR_TAIL_BYTES ? text : storableText(bytes.subarray(bytes.length - STDERR_TAIL_BYTES));
  return tail.replaceAll('\0', '').toWellFormed();
}

/** Bytes as text. A character cut in half at the start is dropped, bytes that are no UTF-8 become U+FFFD. */
export function storableText(bytes: Buffer): string {
  let start = 0;
  while (start < 3 && start < bytes.length && ((bytes[start] ?? 0) & 0b1100_0000) === 0b1000_0000) start++;
  return bytes.subarray(start).toString('utf8').replaceAll('\0', '');
}
