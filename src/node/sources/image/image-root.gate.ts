import { DomainError } from '../../../kernel/domain-error.js';
import { loggerFor } from '../../../lib/logging/logger.js';
import { runTool } from '../../../lib/process/run-tool.js';
import { StorageGate } from '../../../lib/concurrency/storage-gate.js';
import { ToolError } from '../../../lib/process/tool-error.js';

/**
 * After this time an access probes whether the file system answers at all, and again at this interval. Together with the deadline it is shorter than the hub's
 * timeout.
 */
const ASK_AFTER_MS = 1_000;
const ANSWER_MS = 4_000;

/**
 * Accesses image folders, and gives up if their file system hangs. No other access is made there until the hanging one has returned, because this process has
 * few threads for file I/O and each hanging call occupies one.
 */
export class ImageRootGate {
  private readonly log = loggerFor('ImageRootGate');
  private readonly gates = new Map<string, StorageGate>();

  /** @throws DomainError image_root_silent; any error of `look` */
  async use<Result>(root: string, look: () => Promise<Result>): Promise<Result> {
    const gate = this.gateOf(root);
    const over = new AbortController();
    this.watch(root, gate, over.signal);
    try {
      return await gate.use(look);
    } finally {
      over.abort();
    }
  }

  private gateOf(root: string): StorageGate {
    const known = this.gates.get(root);
    if (known !== undefined) return known;
    const gate = new StorageGate({
      silence: () => silent(root),
      onSilent: () => this.log.warn('the file system of an image root does not answer', { root }),
      onAnswer: () => this.log.info('the file system of an image root answers again', { root }),
    });
    this.gates.set(root, gate);
    return gate;
  }

  /** Probes in a process that can be abandoned. @param over aborts once the access has returned or was abandoned */
  private watch(root: string, gate: StorageGate, over: AbortSignal): void {
    const timer = setTimeout(() => {
      const again = (): void => {
        if (!over.aborted) this.watch(root, gate, over);
      };
      runTool(['stat', '--file-system', '--', root], { deadlineMs: ANSWER_MS, signal: over }).then(again, (error: unknown) => {
        if (error instanceof ToolError && error.code === 'tool_timeout') gate.foundSilent(ANSWER_MS);
        // Even an error is an answer.
        else again();
      });
    }, ASK_AFTER_MS);
    over.addEventListener('abort', () => clearTimeout(timer), { once: true });
  }
}

function silent(root: string): DomainError {
  return new DomainError(
    'unavailable',
    'image_root_silent',
    `The file system of the image root "${root}" does not answer. Check its server or disk; the node uses the root again as soon as it answers.`,
    { root },
  );
}
