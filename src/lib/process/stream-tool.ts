import type { Readable } from 'node:stream';
import { execa } from 'execa';
import { textTail, ToolError } from './tool-error.js';
import { toolEnvironment } from './tool-environment.js';

export interface StreamingTool {
  /** Nothing is buffered beyond the pipe: a slow reader slows the tool down. */
  readonly stdout: Readable;
  /** Resolves when the tool has succeeded. @throws ToolError; or the signal's reason */
  readonly ended: Promise<void>;
}

/** Characters of standard error to examine; the end is kept. */
const MAX_STDERR = 64 * 1024;

/**
 * Runs a tool whose standard output is too large to hold in memory. Aborting the signal kills it. The caller reads stdout and must then await `ended`: only
 * that tells whether the output is complete.
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
          ? `was killed by ${result.signal ?? result.shortMessage ?? 'an unknown cause'}`
          : `ended with exit code ${result.exitCode}`;
      throw new ToolError('tool_failed', argv, result.exitCode ?? null, textTail(typeof result.stderr === 'string' ? result.stderr : ''), how);
    }
  };
  const ended = end();
  // A caller that stops reading early may never await it.
  ended.catch(() => undefined);
  return { stdout: child.stdout, ended };
}
