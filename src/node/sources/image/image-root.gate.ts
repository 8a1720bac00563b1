import { DomainError } from '../../../kernel/domain-error.js';
import { loggerFor } from '../../../lib/logging/logger.js';
import { runTool } from '../../../lib/process/run-tool.js';
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
  /** By root, the number of abandoned calls that have not returned. */
  private readonly hanging = new Map<string, number>();

  /** @throws DomainError image_root_silent; any error of `look` */
  async use<Result>(root: string, look: () => Promise<Result>): Promise<Result> {
    if (this.hanging.has(root)) throw silent(root);
    const doing = look();
    const over = new AbortController();
    try {
      return await Promise.race([doing, this.silence(root, over.signal)]);
    } catch (error) {
      if (error instanceof DomainError && error.code === 'image_root_silent') this.await(root, doing);
      throw error;
    } finally {
      over.abort();
    }
  }

  /** Rejects if the file system does not answer. @param over aborts once the result is no longer needed */
  private silence(root: string, over: AbortSignal): Promise<never> {
    return new Promise((_, reject) => {
      const ask = (): void => {
        const timer = setTimeout(() => {
          if (over.aborted) return;
          runTool(['stat', '--file-system', '--', root], { deadlineMs: ANSWER_MS, signal: over }).then(ask, (error: unknown) => {
            if (error instanceof ToolError && error.code === 'tool_timeout') reject(silent(root));
            // Even an error is an answer.
            else if (!over.aborted) ask();
          });
        }, ASK_AFTER_MS);
        over.addEventListener('abort', () => clearTimeout(timer), { once: true });
      };
      ask();
    });
  }

  private await(root: string, doing: Promise<unknown>): void {
    this.log.warn('the file system of an image root does not answer', { root });
    this.hanging.set(root, (this.hanging.get(root) ?? 0) + 1);
    const returned = (): void => {
      const left = (this.hanging.get(root) ?? 1) - 1;
      if (left > 0) {
        this.hanging.set(root, left);
        return;
      }
      this.hanging.delete(root);
      this.log.info('the file system of an image root answers again', { root });
    };
    doing.then(returned, returned);
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
