import { appendFileSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { writeWhole } from '../config/kept-files.js';
import { errnoOf } from '../process/system-error.js';

/** File name in the data directory. */
export const SEEN_CALLS_FILE = 'seen-calls';

/** `<unix time of arrival in ms> <nonce>`. Each entry starts with its line feed, so an entry cut short by a full disk damages no other. */
const LINE = /^(\d{1,16}) ([A-Za-z0-9_-]{16,64})$/;

/**
 * Recent nonces, so that an intercepted call cannot be replayed, even after a restart: each nonce is written before its call is accepted. The write is not
 * flushed, to keep calls cheap: a crash of the program loses nothing, a crash of the machine loses unwritten entries.
 */
export class SeenNonces {
  private current = new Set<string>();
  private previous = new Set<string>();
  private turnedAtMs = 0;

  /**
   * @param keepMs each nonce is remembered for at least this long
   * @param kept file that preserves them across restarts; without it they are lost. No other program may write to it
   */
  constructor(
    private readonly keepMs: number,
    private readonly kept: { readonly file: string; readonly nowMs: number; readonly onProblem: (error: unknown) => void } | null = null,
  ) {
    if (kept === null) return;
    const young = [...linesOf(older(kept.file)), ...linesOf(kept.file)].filter(({ atMs }) => Math.abs(kept.nowMs - atMs) < keepMs);
    this.current = new Set(young.map(({ nonce }) => nonce));
    this.attempt(() => {
      writeWhole(kept.file, young.map(({ atMs, nonce }) => `\n${atMs} ${nonce}`).join(''));
      rmSync(older(kept.file), { force: true });
    });
  }

  /** False when this nonce was already seen. */
  isNew(nonce: string, nowMs: number): boolean {
    const { kept } = this;
    if (Math.abs(nowMs - this.turnedAtMs) >= this.keepMs) {
      this.previous = this.current;
      this.current = new Set();
      this.turnedAtMs = nowMs;
      if (kept !== null) this.attempt(() => renameSync(kept.file, older(kept.file)));
    }
    if (this.current.has(nonce) || this.previous.has(nonce)) return false;
    this.current.add(nonce);
    if (kept !== null) this.attempt(() => appendFileSync(kept.file, `\n${nowMs} ${nonce}`, { mode: 0o600 }));
    return true;
  }

  /** Without disk space the memory still protects: a full disk must not separate hub and node. */
  private attempt(write: () => void): void {
    try {
      write();
    } catch (error) {
      this.kept?.onProblem(error);
    }
  }
}

function older(file: string): string {
  return `${file}.old`;
}

function linesOf(file: string): readonly { readonly atMs: number; readonly nonce: string }[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
  return text.split('\n').flatMap((line) => {
    const [, atMs, nonce] = LINE.exec(line) ?? [];
    return atMs === undefined || nonce === undefined ? [] : [{ atMs: Number(atMs), nonce }];
  });
}
