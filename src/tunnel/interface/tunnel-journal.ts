import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../lib/logging/logger.js';
import { errnoOf } from '../../lib/process/system-error.js';
import { isNews, parseTunnelJournal, type TunnelJournalContent, type TunnelState } from './tunnel-state.plan.js';

export const TUNNEL_JOURNAL_FILE = 'journal.json';
/** What the hub has not heard of after so many further changes it need not know. */
const KEPT = 200;

/** What the tunnel program writes and the node reads. Readable for others than the tunnel's account. */
export class TunnelJournal {
  private readonly file: string;
  private content: TunnelJournalContent;

  constructor(
    private readonly directory: string,
    private readonly log: Logger,
  ) {
    this.file = join(directory, TUNNEL_JOURNAL_FILE);
    this.content = { ...(readOrNull(this.file) ?? { journal_id: randomUUID(), transitions: [] }), running: true };
  }

  /** Takes note of a change, unless it is none. @returns whether it was one. @param at ISO 8601 */
  record(state: TunnelState, at: string): boolean {
    const before = this.content.transitions.at(-1);
    if (!isNews(before, state)) return false;
    const transition = { number: (before?.number ?? 0) + 1, at, ...state };
    this.content = { ...this.content, transitions: [...this.content.transitions, transition].slice(-KEPT) };
    this.write();
    return true;
  }

  close(): void {
    this.content = { ...this.content, running: false };
    this.write();
  }

  private write(): void {
    const fresh = `${this.file}.new`;
    try {
      mkdirSync(this.directory, { recursive: true, mode: 0o700 });
      writeFileSync(fresh, `${JSON.stringify(this.content)}\n`, { mode: 0o644, flush: true });
      renameSync(fresh, this.file);
    } catch (error) {
      // The tunnel matters more than its diary; with the next change it is written whole.
      this.log.warn('the journal of the tunnel cannot be written', { file: this.file, error });
    }
  }
}

/** null: no tunnel has ever run there. @throws Error when it cannot be read, and why */
export async function readTunnelJournal(directory: string): Promise<TunnelJournalContent | null> {
  try {
    return parseTunnelJournal(await readFile(join(directory, TUNNEL_JOURNAL_FILE), 'utf8'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}

/** A journal that is damaged is begun anew. */
function readOrNull(file: string): TunnelJournalContent | null {
  try {
    return parseTunnelJournal(readFileSync(file, 'utf8'));
  } catch {
    return null;
  }
}
