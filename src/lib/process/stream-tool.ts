import type { Readable } from 'node:stream';
import { execa } from 'execa';
import { textTail, ToolError } from './tool-error.js';
import { toolEnvironment } from './tool-environment.js';

export interface StreamingTool {
  /** Nothing is buffered beyond the pipe: a reader that is slow slows the tool down. */
  readonly stdout: Readable;
  /** Resolves when the tool has ended well. @throws ToolError; or the signal's reason */
  readonly ended: Promise<void>;
}

/** Characters of standard error that are looked at; the end of them is kept. */
const MAX_STDERR = 64 * 1024;

/**
 * Runs a tool whose standard output is too large to hold. Aborting the signal kills it. The caller reads stdout, and must wait for `ended`: only then it is known
 * whether all of it came.
 */
export function streamTool(argv: readonly [string, ...string[]], signal: AbortSignal): StreamingTool {
  const [file, ...rest] = argv;
  const child = execa(file, rest, {
    reject: false,
    killSignal: 'SIGKILL',
    cancelSignal: signal,
    stdin: 'ignore',
    buffer: { stdout: false, stderr: true },
    maxBuffer: { stderr: MAX_STDERR },
    extendEnv: false,
    env: toolEnvironment(),
  });
  const end = async (): Promise<void> => {
    const result = await child;
    if (result.isCanceled) signal.throwIfAborted();
    if (result.code === 'ENOENT' || result.code === 'EACCES')
      throw new ToolError('tool_missing', argv, null, '', 'is not installed, not in PATH or not executable');
    if (result.exitCode !== 0) {
      const how =
        result.exitCode === undefined
          ? `was ended by ${result.signal ?? result.shortMessage ?? 'an unknown cause'}`
          : `ended with exit code ${result.exitCode}`;
      throw new ToolError('tool_failed', argv, result.exitCode ?? null, textTail(typeof result.stderr === 'string' ? result.stderr : ''), how);
    }
  };
  const ended = end();
  // Whoever stops reading early may never ask.
  ended.catch(() => undefined);
  return { stdout: child.stdout, ended };
}
