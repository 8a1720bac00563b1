import { appendFileSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { writeWhole } from '../config/kept-files.js';
import { errnoOf } from '../process/system-error.js';

/** In the data directory. */
export const SEEN_CALLS_FILE = 'seen-calls';

/** `<unix time in ms of when it came> <nonce>`. Each begins with its line feed, so one that a full disk has cut short spoils no other. */
const LINE = /^(\d{1,16}) ([A-Za-z0-9_-]{16,64})$/;

/**
 * Nonces of late, so that a call that somebody has listened to cannot be made again, also after a restart of the program: each is written down before its call counts. Written
 * and not flushed, so that a call costs no more than it must: the death of the program loses nothing, that of the machine what it had not written yet.
 */
export class SeenNonces {
  private current = new Set<string>();
  private previous = new Set<string>();
  private turnedAtMs = 0;

  /**
   * @param keepMs each nonce is remembered at least so long
   * @param kept where they outlast the program; without it they do not. Nobody else may write there
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

  /** False when this nonce was seen before. */
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

  /** Without space for it there is still the memory: a full disk must not keep hub and node apart. */
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
