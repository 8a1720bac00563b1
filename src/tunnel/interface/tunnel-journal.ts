import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../lib/logging/logger.js';
import { ifThere } from '../../lib/files/if-there.js';
import { isNews, parseTunnelJournal, type TunnelJournalContent, type TunnelState } from './tunnel-state.plan.js';

export const TUNNEL_JOURNAL_FILE = 'journal.json';
/** Older changes are dropped, even if the hub has not heard of them. */
const KEPT = 200;

/** The journal that the tunnel program writes and the node reads. Readable by accounts other than the tunnel's. */
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

  /** Records a change of state. @returns false when nothing has changed @param at ISO 8601 */
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
      // The tunnel matters more than its journal; the next change writes it in full.
      this.log.warn("the tunnel's journal cannot be written", { file: this.file, error });
    }
  }
}

/** null: no tunnel has ever run there. @throws Error with the reason when it cannot be read */
export async function readTunnelJournal(directory: string): Promise<TunnelJournalContent | null> {
  const text = await ifThere(readFile(join(directory, TUNNEL_JOURNAL_FILE), 'utf8'));
  return text === null ? null : parseTunnelJournal(text);
}

/** A damaged journal is replaced by a new one. */
function readOrNull(file: string): TunnelJournalContent | null {
  try {
    return parseTunnelJournal(readFileSync(file, 'utf8'));
  } catch {
    return null;
  }
}
