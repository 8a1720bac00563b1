import { DomainError } from '../../../kernel/domain-error.js';
import { loggerFor } from '../../../lib/logging/logger.js';
import { runTool } from '../../../lib/process/run-tool.js';
import { ToolError } from '../../../lib/process/tool-error.js';

/** A look that takes longer makes us ask whether the file system answers at all, and again after so long. With the deadline it is less than a hub waits for an answer. */
const ASK_AFTER_MS = 1_000;
const ANSWER_MS = 4_000;

/**
 * Looks into image folders, given up where their file system hangs. Nobody looks there again before what hangs has returned: this process has few threads for its work on files,
 * and each look that hangs holds one.
 */
export class ImageRootGate {
  private readonly log = loggerFor('ImageRootGate');
  /** By root, how many looks were given up and have not returned. */
  private readonly hanging = new Map<string, number>();

  /** @throws DomainError image_root_silent; what the look throws */
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

  /** Rejects when the file system does not answer. @param over nobody wants to know any more */
  private silence(root: string, over: AbortSignal): Promise<never> {
    return new Promise((_, reject) => {
      const ask = (): void => {
        const timer = setTimeout(() => {
          if (over.aborted) return;
          runTool(['stat', '--file-system', '--', root], { deadlineMs: ANSWER_MS, signal: over }).then(ask, (error: unknown) => {
            if (error instanceof ToolError && error.code === 'tool_timeout') reject(silent(root));
            // Whatever else is wrong there, it does answer.
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
    `The file system of the image root "${root}" does not answer. See to the server or the disk that it is on; it is used again as soon as it answers.`,
    { root },
  );
}
