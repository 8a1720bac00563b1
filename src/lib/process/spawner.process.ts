/** Starts processes for its parent. See Spawner. */
import { once } from 'node:events';
import { runTool } from './run-tool.js';
import { serveParent } from './serve-parent.js';
import { spawnDetached } from './spawn-detached.js';
import type { SpawnedTool, SpawnedToolOutcome, SpawnTask } from './spawner.js';
import { ToolError } from './tool-error.js';

/** By pid, the end of a process that has not ended. */
const ends = new Map<number, Promise<unknown>>();
/** By key. */
const running = new Map<number, AbortController>();

serveParent((task) => perform(task as SpawnTask)); // sent by Spawner

function perform(task: SpawnTask): unknown {
  switch (task.kind) {
    case 'start':
      return start(task.argv, task.env);
    case 'await_end':
      return ends.get(task.pid)?.then(() => null);
    case 'run':
      return run(task.key, task.tool);
    case 'cancel':
      return running.get(task.key)?.abort(new Error('cancelled'));
  }
}

async function start(argv: readonly [string, ...string[]], env: Readonly<Record<string, string>>): Promise<number | undefined> {
  const child = await spawnDetached(argv, env);
  const { pid } = child;
  if (pid !== undefined) {
    const end = once(child, 'exit').finally(() => ends.delete(pid));
    end.catch(() => undefined);
    ends.set(pid, end);
  }
  return pid;
}

async function run(key: number, { argv, options }: SpawnedTool): Promise<SpawnedToolOutcome> {
  const cancelling = new AbortController();
  running.set(key, cancelling);
  try {
    return { output: await runTool(argv, { ...options, signal: cancelling.signal }) };
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    const { code, exitCode, stderrTail, reason, endedBy } = error;
    return { failure: { code, exitCode, stderrTail, reason, endedBy } };
  } finally {
    running.delete(key);
  }
}
