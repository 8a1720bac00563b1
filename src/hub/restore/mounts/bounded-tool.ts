import { runTool, type RunToolOptions, type ToolOutput } from '../../../lib/process/run-tool.js';
import { ToolError } from '../../../lib/process/tool-error.js';

/** Time a killed tool has to exit. */
const GRACE_MS = 1_000;

/**
 * Runs a tool that may hang in the kernel, where not even SIGKILL ends it. The tool is killed at its deadline and abandoned GRACE_MS later.
 * @throws ToolError (`tool_timeout` at the deadline); or the reason of the signal
 */
export async function runBounded(
  argv: readonly [string, ...string[]],
  deadlineMs: number,
  options: Pick<RunToolOptions, 'signal' | 'env' | 'expectedExitCodes' | 'input'> = {},
): Promise<ToolOutput> {
  const run = runTool(argv, { ...options, deadlineMs });
  // Nothing awaits an abandoned tool.
  run.catch(() => undefined);
  let timer: NodeJS.Timeout | undefined;
  const abandoned = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new ToolError('tool_timeout', argv, null, '', `was abandoned: it had not exited ${GRACE_MS} ms after SIGKILL`));
    }, deadlineMs + GRACE_MS);
  });
  try {
    return await Promise.race([run, abandoned]);
  } finally {
    clearTimeout(timer);
  }
}
