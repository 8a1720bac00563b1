/**
 * - `tool_missing`: not installed, not in PATH, or not executable; permanent until it is installed
 * - `tool_failed`: it exited with a code that its caller did not expect
 * - `tool_timeout`: it was killed at its deadline; trying again may help
 */
export type ToolErrorCode = 'tool_missing' | 'tool_failed' | 'tool_timeout';

/** Bytes of a failed tool's standard error to keep. */
export const STDERR_TAIL_BYTES = 4096;

/** A tool failed. Never contains a secret: secrets never reach an argv. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
  readonly tool: string;
  /** True when the same call may succeed later without intervention. */
  readonly retryable: boolean;

  constructor(
    readonly code: ToolErrorCode,
    readonly argv: readonly [string, ...string[]],
    /** null: killed by a signal, or never started. */
    readonly exitCode: number | null,
    /** The end of its standard error, at most 4 KiB. */
    readonly stderrTail: string,
    readonly reason: string,
    /** The signal that killed it, sent by something else; null: none. */
    readonly endedBy: string | null = null,
  ) {
    super(`${argv[0]} ${reason}${stderrTail.trim() === '' ? '' : `: ${stderrTail.trim()}`}`);
    this.tool = argv[0];
    this.retryable = code === 'tool_timeout';
  }
}

/** The end of a tool's output in storable form: no NUL, no partial characters. */
export function textTail(text: string): string {
  const bytes = Buffer.from(text, 'utf8');
  const tail = bytes.length <= STDERR_TAIL_BYTES ? text : storableText(bytes.subarray(bytes.length - STDERR_TAIL_BYTES));
  return tail.replaceAll('\0', '').toWellFormed();
}

/** Bytes as text. A character cut in half at the start is dropped; bytes that are not UTF-8 become U+FFFD. */
export function storableText(bytes: Buffer): string {
  let start = 0;
  while (start < 3 && start < bytes.length && ((bytes[start] ?? 0) & 0b1100_0000) === 0b1000_0000) start++;
  return bytes.subarray(start).toString('utf8').replaceAll('\0', '');
}
