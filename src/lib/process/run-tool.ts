import { execa } from 'execa';
import { spawnSlot } from './spawn-throttle.js';
import { currentSpawner } from './spawner.js';
import { textTail, ToolError } from './tool-error.js';
import { toolEnvironment } from './tool-environment.js';

export interface RunToolOptions {
  /** Milliseconds after which the tool is killed with SIGKILL. Default: 30 s. */
  readonly deadlineMs?: number;
  /** Its standard input; empty by default. */
  readonly input?: string;
  /** Kills the tool; the call then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** In addition to PATH, HOME, locale and the like. */
  readonly env?: Readonly<Record<string, string>>;
  /** The tool must not outlive this program: it is killed when this program ends in any way. Needs setpriv (util-linux). */
  readonly endsWithUs?: boolean;
  /** Open files that the tool inherits; see inheritedName. Not together with an input. */
  readonly inherited?: readonly number[];
  /** Exit codes that are answers and not failures. Default: only 0. */
  readonly expectedExitCodes?: readonly number[];
  /**
   * The call may safely run twice: if something else kills the tool with SIGKILL (for example the kernel when memory is short), it is run once more. Default:
   * false.
   */
  readonly repeatable?: boolean;
}

export interface ToolOutput {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

const DEFAULT_DEADLINE_MS = 30_000;
/** A killed tool that has not ended after this time hangs in the kernel, for example on storage that does not answer; it is not waited for any longer. */
const KILLED_PATIENCE_MS = 5_000;
/** Output beyond this fails the call, so that a runaway tool does not exhaust our memory. In characters. */
const MAX_OUTPUT = 256 * 1024 * 1024;
/** The kernel sends the signal when the parent exits (prctl(2), PR_SET_PDEATHSIG); setpriv then execs the tool. */
const ENDS_WITH_US = ['setpriv', '--pdeathsig', 'KILL', '--'] as const;
/** setpriv's message in place of ENOENT and EACCES. */
const COULD_NOT_BECOME = /^setpriv: failed to execute /;

/**
 * Runs one short-lived tool until it exits.
 * @throws ToolError; or the reason of options.signal when that was aborted
 */
export async function runTool(argv: readonly [string, ...string[]], options: RunToolOptions = {}): Promise<ToolOutput> {
  try {
    return await runOnce(argv, options);
  } catch (error) {
    if (options.repeatable !== true || !(error instanceof ToolError) || error.endedBy !== 'SIGKILL') throw error;
    return runOnce(argv, options);
  }
}

async function runOnce(argv: readonly [string, ...string[]], options: RunToolOptions): Promise<ToolOutput> {
  const { signal, input, inherited, repeatable: _, ...rest } = options;
  const spawner = input === undefined && inherited === undefined ? currentSpawner() : null;
  if (spawner === null) return runHere(argv, options);
  const outcome = await spawner.run({ argv, options: rest }, signal);
  if ('output' in outcome) return outcome.output;
  const { code, exitCode, stderrTail, reason, endedBy } = outcome.failure;
  throw new ToolError(code, argv, exitCode, stderrTail, reason, endedBy);
}

async function runHere(argv: readonly [string, ...string[]], options: RunToolOptions): Promise<ToolOutput> {
  const [file, ...rest] = options.endsWithUs === true ? ([...ENDS_WITH_US, ...argv] as const) : argv;
  const deadlineMs = options.deadlineMs ?? DEFAULT_DEADLINE_MS;
  // The types of execa know single digits only.
  const inherited = (options.inherited ?? []) as readonly 4[];
  await spawnSlot();
  options.signal?.throwIfAborted();
  const running = execa(file, rest, {
    reject: false,
    timeout: deadlineMs,
    killSignal: 'SIGKILL',
    maxBuffer: MAX_OUTPUT,
    extendEnv: false,
    env: toolEnvironment(options.env),
    stripFinalNewline: false,
    ...(options.input === undefined ? { stdio: ['ignore', 'pipe', 'pipe', 'ignore', ...inherited] as const } : { input: options.input }),
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
  });
  const givenUp = new AbortController();
  const result = await Promise.race([running, outlasted(argv, deadlineMs, options.signal, givenUp.signal)]).finally(() => givenUp.abort());
  if (result.isCanceled) options.signal?.throwIfAborted();
  const exitCode = result.exitCode ?? null;
  const stderrTail = textTail(result.stderr);
  if (result.timedOut) throw new ToolError('tool_timeout', argv, exitCode, stderrTail, `did not exit within ${deadlineMs} ms and was killed`);
  if (result.code === 'ENOENT' || result.code === 'EACCES' || (options.endsWithUs === true && COULD_NOT_BECOME.test(result.stderr))) {
    throw new ToolError('tool_missing', argv, null, stderrTail, 'is not installed, not in PATH or not executable');
  }
  if (exitCode === null || !(options.expectedExitCodes ?? [0]).includes(exitCode)) {
    const how = exitCode === null ? `was killed by ${result.signal ?? result.shortMessage}` : `ended with exit code ${exitCode}`;
    throw new ToolError('tool_failed', argv, exitCode, stderrTail, how, result.signal ?? null);
  }
  return { stdout: result.stdout, stderr: result.stderr, exitCode };
}

/** Rejects when the tool has survived being killed. @param over aborted when nothing waits any more */
function outlasted(argv: readonly [string, ...string[]], deadlineMs: number, cancelled: AbortSignal | undefined, over: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const soonAfter = (ms: number, error: () => unknown): void => {
      const timer = setTimeout(() => reject(error() as Error), ms + KILLED_PATIENCE_MS); // an abort reason is whatever the caller chose to throw
      over.addEventListener('abort', () => clearTimeout(timer));
    };
    const why = `did not exit within ${deadlineMs} ms, was killed, and hangs in the kernel, probably on its storage`;
    soonAfter(deadlineMs, () => new ToolError('tool_timeout', argv, null, '', why));
    cancelled?.addEventListener('abort', () => soonAfter(0, () => cancelled.reason), { once: true, signal: over });
  });
}
