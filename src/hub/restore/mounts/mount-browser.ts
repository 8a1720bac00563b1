import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { HubConfig } from '../../hub.config.js';
import { siblingProgram } from '../../../lib/process/sibling-program.js';
import { toolEnvironment } from '../../../lib/process/tool-environment.js';
import { WorkerError, WorkerProcess } from '../../../lib/process/worker-process.js';
import {
  type BrowserErrorCode,
  BrowserError,
  type BrowserRequest,
  type GuestFile,
  type GuestPage,
  type ListRequest,
  type PathText,
  type StreamRequest,
} from './guest-browser/browser-protocol.js';
import { GuestStream, silence } from './guest-stream.js';

/** A download stalls after this many times the answer timeout. */
const STALLED_ANSWERS = 2;
/** An idle browser ends, to free its memory. */
const IDLE_MS = 60_000;
const CLOSE_PATIENCE_MS = 1_000;

const PROGRAM = siblingProgram(new URL('./guest-browser/browser.process.js', import.meta.url));

interface Browser {
  readonly worker: WorkerProcess;
  idle: NodeJS.Timeout | null;
}

/**
 * Reads mounted file systems through separate processes: one per mount for requests, one per download. The hub itself never touches a mounted file system,
 * so a hanging mount costs a process and an answer, never the hub.
 */
@Injectable()
export class MountBrowser implements OnApplicationShutdown {
  private readonly browsers = new Map<string, Browser>();
  private readonly streams = new Map<string, Set<ChildProcess>>();
  /** Browsers that were killed but hang in the kernel. Another request to their mount would hang as well. */
  private readonly stuck = new Map<string, WorkerProcess>();
  /** Mounts that are being unmounted; their root is an empty directory afterwards. Their names are never reused. */
  private readonly closed = new Set<string>();

  constructor(private readonly config: HubConfig) {}

  /** @throws BrowserError */
  async list(root: string, request: ListRequest): Promise<GuestPage> {
    // The answer to a list is a page.
    return (await this.ask(root, { kind: 'list', request })) as GuestPage;
  }

  /** @throws BrowserError */
  async info(root: string, request: PathText & { readonly followed: boolean }): Promise<GuestFile> {
    // The answer to an info is a file.
    return (await this.ask(root, { kind: 'info', request })) as GuestFile;
  }

  /** Resolves once the first bytes are available, or at the end of an empty stream. @throws BrowserError for failures before that */
  async stream(root: string, request: StreamRequest): Promise<GuestStream> {
    this.refuse(root);
    const child = spawn(process.execPath, [...PROGRAM, root, JSON.stringify(request)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: '/',
      env: toolEnvironment(),
    });
    const ofRoot = this.streams.get(root) ?? new Set<ChildProcess>();
    this.streams.set(root, ofRoot.add(child));
    const forget = (): void => {
      ofRoot.delete(child);
      if (ofRoot.size === 0 && this.streams.get(root) === ofRoot) this.streams.delete(root);
    };
    child.once('exit', forget);
    child.once('error', forget);
    const stream = new GuestStream(child, STALLED_ANSWERS * this.answerMs());
    try {
      await stream.begun();
      return stream;
    } catch (error) {
      stream.destroy();
      throw error;
    }
  }

  /** Active downloads from this mount, not counting abandoned ones that hang. */
  streamsFrom(root: string): number {
    return [...(this.streams.get(root) ?? [])].filter(({ killed }) => !killed).length;
  }

  /** Permanently ends all processes that read from this mount. */
  async close(root: string): Promise<void> {
    this.closed.add(root);
    const browser = this.browsers.get(root);
    this.browsers.delete(root);
    browser?.worker.kill();
    const gone = [...(browser === undefined ? [] : [browser.worker.gone]), ...[...(this.streams.get(root) ?? [])].map(end)];
    // A process that hangs in the kernel ends only when its disk is detached; do not wait for that.
    await Promise.race([Promise.all(gone), pause(CLOSE_PATIENCE_MS, undefined, { ref: false })]);
  }

  async onApplicationShutdown(): Promise<void> {
    await Promise.all([...new Set([...this.browsers.keys(), ...this.streams.keys()])].map((root) => this.close(root)));
  }

  /** @throws BrowserError when the mount is closed or hangs */
  private refuse(root: string): void {
    if (this.closed.has(root)) throw new BrowserError('mount_gone', 'this mount is being unmounted');
    if (this.stuck.has(root)) throw new BrowserError('mount_silent', 'the mounted file system has not answered an earlier request yet; unmount it');
  }

  private async ask(root: string, request: BrowserRequest): Promise<unknown> {
    this.refuse(root);
    const browser = this.browserOf(root);
    const { worker } = browser;
    if (browser.idle !== null) clearTimeout(browser.idle);
    const timer = setTimeout(() => {
      this.stuck.set(root, worker);
      void worker.gone.then(() => {
        if (this.stuck.get(root) === worker) this.stuck.delete(root);
      });
      // The other pending requests would not be answered either.
      this.abandon(root, browser);
    }, this.answerMs());
    try {
      return await worker.call(request);
    } catch (error) {
      // The codes of browser.process.
      throw error instanceof WorkerError ? new BrowserError(error.code as BrowserErrorCode, error.message) : error;
    } finally {
      clearTimeout(timer);
      if (worker.pending === 0) browser.idle = setTimeout(() => this.abandon(root, browser), IDLE_MS).unref();
    }
  }

  private browserOf(root: string): Browser {
    const running = this.browsers.get(root);
    if (running !== undefined) return running;
    const lost = (): Error => {
      this.forget(root, browser);
      return new BrowserError('mount_gone', 'the process that reads this mount ended unexpectedly; repeat the request');
    };
    const browser: Browser = { worker: new WorkerProcess([...PROGRAM, root], lost), idle: null };
    this.browsers.set(root, browser);
    return browser;
  }

  private answerMs(): number {
    return this.config.mountAnswerSeconds * 1000;
  }

  private forget(root: string, browser: Browser): void {
    if (this.browsers.get(root) === browser) this.browsers.delete(root);
    if (browser.idle !== null) clearTimeout(browser.idle);
  }

  private abandon(root: string, browser: Browser): void {
    this.forget(root, browser);
    browser.worker.end(silence());
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}
