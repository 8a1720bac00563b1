import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { HubConfig } from '../../hub.config.js';
import { siblingProgram } from '../../../lib/process/sibling-program.js';
import { toolEnvironment } from '../../../lib/process/tool-environment.js';
import {
  type BrowserAnswer,
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

const PROGRAM = siblingProgram(new URL('./guest-browser/browser.process.js', import.meta.url));

interface Waiting {
  readonly resolve: (result: GuestPage | GuestFile) => void;
  readonly reject: (error: BrowserError) => void;
  readonly timer: NodeJS.Timeout;
}

interface Browser {
  readonly child: ChildProcess;
  readonly waiting: Map<number, Waiting>;
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
  private readonly stuck = new Map<string, ChildProcess>();
  /** Mounts that are being unmounted; their root is an empty directory afterwards. Their names are never reused. */
  private readonly closed = new Set<string>();
  private lastId = 0;

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
    const children = [...(browser === undefined ? [] : [browser.child]), ...(this.streams.get(root) ?? [])];
    await Promise.all(children.map(end));
  }

  async onApplicationShutdown(): Promise<void> {
    await Promise.all([...new Set([...this.browsers.keys(), ...this.streams.keys()])].map((root) => this.close(root)));
  }

  /** @throws BrowserError when the mount is closed or hangs */
  private refuse(root: string): void {
    if (this.closed.has(root)) throw new BrowserError('mount_gone', 'this mount is being unmounted');
    if (this.stuck.has(root)) throw new BrowserError('mount_silent', 'the mounted file system has not answered an earlier request yet; unmount it');
  }

  private async ask(root: string, request: Pick<BrowserRequest, 'kind' | 'request'>): Promise<GuestPage | GuestFile> {
    this.refuse(root);
    const browser = this.browserOf(root);
    const id = ++this.lastId;
    if (browser.idle !== null) clearTimeout(browser.idle);
    try {
      return await new Promise<GuestPage | GuestFile>((resolve, reject) => {
        const timer = setTimeout(() => {
          // The other pending requests would not be answered either.
          this.abandon(root, browser, silence());
          this.stuck.set(root, browser.child);
          browser.child.once('exit', () => {
            if (this.stuck.get(root) === browser.child) this.stuck.delete(root);
          });
        }, this.answerMs());
        browser.waiting.set(id, { resolve, reject, timer });
        // The caller passed a matching kind and request.
        browser.child.send({ id, ...request }, (error) => {
          if (error !== null)
            this.abandon(root, browser, new BrowserError('mount_gone', 'the process that reads this mount ended unexpectedly; repeat the request'));
        });
      });
    } finally {
      if (browser.waiting.size === 0) browser.idle = setTimeout(() => this.abandon(root, browser, silence()), IDLE_MS).unref();
    }
  }

  private browserOf(root: string): Browser {
    const running = this.browsers.get(root);
    if (running !== undefined) return running;
    const child = spawn(process.execPath, [...PROGRAM, root], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      cwd: '/',
      env: toolEnvironment(),
    });
    const browser: Browser = { child, waiting: new Map(), idle: null };
    this.browsers.set(root, browser);
    child.on('message', (message) => {
      const answer = message as BrowserAnswer; // sent by browser.process
      const waiting = browser.waiting.get(answer.id);
      browser.waiting.delete(answer.id);
      if (waiting === undefined) return;
      clearTimeout(waiting.timer);
      if (answer.ok) waiting.resolve(answer.result);
      else waiting.reject(new BrowserError(answer.code, answer.message));
    });
    const gone = (): void =>
      this.abandon(root, browser, new BrowserError('mount_gone', 'the process that reads this mount ended unexpectedly; repeat the request'));
    child.once('error', gone);
    child.once('exit', gone);
    return browser;
  }

  private answerMs(): number {
    return this.config.mountAnswerSeconds * 1000;
  }

  private abandon(root: string, browser: Browser, error: BrowserError): void {
    if (this.browsers.get(root) === browser) this.browsers.delete(root);
    if (browser.idle !== null) clearTimeout(browser.idle);
    browser.child.kill('SIGKILL');
    for (const { reject, timer } of browser.waiting.values()) {
      clearTimeout(timer);
      reject(error);
    }
    browser.waiting.clear();
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  // A process that hangs in the kernel ends only when its disk is detached; do not wait for that.
  const gone = Promise.race([once(child, 'exit'), new Promise((resolve) => setTimeout(resolve, 1_000).unref())]);
  child.kill('SIGKILL');
  await gone;
}
