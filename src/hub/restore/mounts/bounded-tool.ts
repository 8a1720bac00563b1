import { runTool, type RunToolOptions, type ToolOutput } from '../../../lib/process/run-tool.js';
import { ToolError } from '../../../lib/process/tool-error.js';

/** What a killed tool gets to disappear in. */
const GRACE_MS = 1_000;

/**
 * Runs a tool that may hang in the kernel, where not even SIGKILL ends it: at its deadline it is killed, and soon after abandoned.
 * @throws ToolError (`tool_timeout` at the deadline); or the reason of the signal
 */
export async function runBounded(
  argv: readonly [string, ...string[]],
  deadlineMs: number,
  options: Pick<RunToolOptions, 'signal' | 'env' | 'expectedExitCodes' | 'input'> = {},
): Promise<ToolOutput> {
  const run = runTool(argv, { ...options, deadlineMs });
  // Once abandoned, nobody waits for it.
  run.catch(() => undefined);
  let timer: NodeJS.Timeout | undefined;
  const abandoned = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new ToolError('tool_timeout', argv, null, '', `was abandoned: it did not even end ${GRACE_MS} ms after SIGKILL`));
    }, deadlineMs + GRACE_MS);
  });
  try {
    return await Promise.race([run, abandoned]);
  } finally {
    clearTimeout(timer);
  }
}
