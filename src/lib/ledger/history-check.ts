import type { JsonObject } from '../../kernel/json.js';
import { type Checkpoint, openCheckpoint, readCheckpoint } from './checkpoint.js';
import { openRotation } from './key-rotation.js';
import { leafHashOf, type LedgerEvent } from './ledger-leaf.js';
import { EMPTY_ROOT, GrowingTree } from './merkle-tree.js';
import { NoteError, type NoteVerifier } from './signed-note.js';

/** Where a checkpoint was found. */
export interface Witness {
  /** A file or a restore point, for the report. */
  readonly source: string;
  /** The signed note. */
  readonly note: string;
  /** Sorts witnesses of one repository in time; null: unknown. */
  readonly at: string | null;
}

/** A restore point as a repository has it. */
export interface KeptRestorePoint {
  readonly backup_id: string;
  readonly folder: string;
  /** Lower-case hex. */
  readonly manifest_sha256: string;
}

export type ProblemKind =
  | 'checkpoint_untrusted'
  | 'checkpoint_contradicts'
  | 'history_went_back'
  | 'events_missing'
  | 'event_out_of_order'
  | 'events_differ'
  | 'restore_point_missing'
  | 'restore_point_differs';

export interface Problem {
  readonly kind: ProblemKind;
  /** Number of the first event that it concerns, from 0; null: it concerns no event. */
  readonly first_event: number | null;
  /** Position of that event in its store; null: unknown. */
  readonly first_position: string | null;
  /** The last event that may be the first one that differs; null: `first_event` is that one. */
  readonly last_event: number | null;
  readonly detail: string;
}

/** An event of an export. */
export interface ExportedEvent extends LedgerEvent {
  readonly position: string;
}

interface Read extends Witness {
  readonly checkpoint: Checkpoint;
}

/**
 * Checks a history against checkpoints that others have kept. It reads each event once, and keeps one number for each stream, and one root for each checkpoint.
 * Use: `add` all events in order, then `problems`.
 */
export class HistoryCheck {
  private readonly tree = new GrowingTree();
  private readonly found: Problem[] = [];
  private readonly witnesses: readonly Read[];
  private readonly roots = new Map<number, Buffer>([[0, EMPTY_ROOT]]);
  private readonly nextRevision = new Map<string, number>();
  private readonly rotations: string[] = [];
  private readonly repositoryOf = new Map<string, string>();
  private readonly sealed = new Map<string, { readonly index: number; readonly position: string; readonly folder: string; readonly manifest_sha256: string }>();
  private lastPosition = '';

  /** @param keys that the caller trusts; none: signatures are not checked */
  constructor(
    witnesses: readonly Witness[],
    private readonly keys: readonly NoteVerifier[],
  ) {
    this.witnesses = witnesses
      .flatMap((witness) => {
        try {
          return [{ ...witness, checkpoint: readCheckpoint(witness.note) }];
        } catch (error) {
          this.untrusted(witness, error);
          return [];
        }
      })
      .sort((a, b) => a.checkpoint.size - b.checkpoint.size);
    for (const { checkpoint } of this.witnesses) this.roots.set(checkpoint.size, checkpoint.size === 0 ? EMPTY_ROOT : Buffer.alloc(0));
  }

  get size(): number {
    return this.tree.size;
  }

  root(): Buffer {
    return this.tree.root();
  }

  add(event: ExportedEvent): void {
    const index = this.tree.size;
    const expected = this.nextRevision.get(event.stream) ?? 0;
    if (event.revision !== expected || event.position <= this.lastPosition) {
      const detail =
        event.revision === expected
          ? `${event.type} of ${event.stream} has a position that is not above the one before it`
          : `${event.type} of ${event.stream} has the revision ${event.revision}, but ${expected} comes next in its stream`;
      this.found.push({ kind: 'event_out_of_order', first_event: index, first_position: event.position, last_event: null, detail });
    }
    this.nextRevision.set(event.stream, event.revision + 1);
    this.lastPosition = event.position;
    this.note(event, index);
    this.tree.append(leafHashOf(event));
    if (this.roots.has(this.tree.size)) this.roots.set(this.tree.size, this.tree.root());
  }

  /** Problems that need no events: of the checkpoints among themselves. */
  private problemsOfWitnesses(): readonly Problem[] {
    const problems: Problem[] = [];
    const none = { first_event: null, first_position: null, last_event: null };
    const bySize = new Map<number, Read>();
    for (const witness of this.witnesses) {
      const same = bySize.get(witness.checkpoint.size);
      if (same === undefined) bySize.set(witness.checkpoint.size, witness);
      else if (!same.checkpoint.root.equals(witness.checkpoint.root)) {
        const detail = `${same.source} and ${witness.source} have different roots for the same ${witness.checkpoint.size} events`;
        problems.push({ ...none, kind: 'checkpoint_contradicts', detail });
      }
    }
    let newest: Read | null = null;
    for (const witness of this.witnesses.filter(({ at }) => at !== null).sort((a, b) => (a.at ?? '').localeCompare(b.at ?? ''))) {
      if (newest !== null && witness.checkpoint.size < newest.checkpoint.size) {
        const detail = `${witness.source} was sealed after ${newest.source}, but knows ${witness.checkpoint.size} events instead of at least ${newest.checkpoint.size}`;
        problems.push({ ...none, kind: 'history_went_back', detail });
      } else newest = witness;
    }
    return problems;
  }

  private trustProblems(): readonly Problem[] {
    if (this.keys.length === 0) return [];
    const trusted = [...this.keys];
    for (const rotation of this.rotations) {
      try {
        trusted.push(openRotation(rotation, trusted));
      } catch (error) {
        if (!(error instanceof NoteError)) throw error;
      }
    }
    return this.witnesses.flatMap((witness) => {
      try {
        openCheckpoint(witness.note, trusted);
        return [];
      } catch (error) {
        return [untrustedProblem(witness, error)];
      }
    });
  }

  /** @param withEvents whether the events were added @param kept restore points per repository id; undefined: no repository was read */
  problems(withEvents: boolean, kept: ReadonlyMap<string, readonly KeptRestorePoint[]> = new Map()): readonly Problem[] {
    const problems = [...this.found, ...this.trustProblems(), ...this.problemsOfWitnesses()];
    if (withEvents) problems.push(...this.difference(), ...this.restorePointProblems(kept));
    return problems.sort((a, b) => (a.first_event ?? -1) - (b.first_event ?? -1));
  }

  /** The first checkpoint that the events do not lead to. */
  private difference(): readonly Problem[] {
    let agreed = 0;
    for (const { source, checkpoint } of this.witnesses) {
      const { size, root } = checkpoint;
      if (size > this.tree.size) {
        const detail = `${source} knows ${size} events, and there are ${this.tree.size}: the newest were removed`;
        return [{ kind: 'events_missing', first_event: this.tree.size, first_position: null, last_event: null, detail }];
      }
      if (this.roots.get(size)?.equals(root) === true) {
        agreed = size;
        continue;
      }
      const detail = `the first ${size} events are not those of ${source}: an event from number ${agreed} to ${size - 1} was changed, inserted, removed or moved`;
      return [{ kind: 'events_differ', first_event: agreed, first_position: null, last_event: size - 1, detail }];
    }
    return [];
  }

  private restorePointProblems(kept: ReadonlyMap<string, readonly KeptRestorePoint[]>): readonly Problem[] {
    const problems: Problem[] = [];
    for (const [repositoryId, points] of kept) {
      const hashes = new Map(points.map(({ folder, manifest_sha256 }) => [folder, manifest_sha256]));
      for (const [backupId, { index, position, folder, manifest_sha256 }] of this.sealed) {
        if (this.repositoryOf.get(backupId) !== repositoryId) continue;
        const hash = hashes.get(folder);
        if (hash === manifest_sha256) continue;
        const where = { first_event: index, first_position: position, last_event: null };
        if (hash === undefined) {
          problems.push({ ...where, kind: 'restore_point_missing', detail: `${folder} was sealed and never deleted, and is not in the repository` });
        } else problems.push({ ...where, kind: 'restore_point_differs', detail: `the manifest of ${folder} is not the one that was sealed` });
      }
    }
    return problems;
  }

  /** Remembers what later checks need of an event. */
  private note({ type, stream, data, position }: ExportedEvent, index: number): void {
    const backupId = stream.startsWith('backup-') ? stream.slice('backup-'.length) : null;
    const text = (name: string): string => textOf(data, name);
    if (type === 'LedgerKeyRotated') this.rotations.push(text('statement'));
    if (backupId === null) return;
    if (type === 'BackupRequested') this.repositoryOf.set(backupId, text('repository_id'));
    if (type === 'RestorePointSealed') this.sealed.set(backupId, { index, position, folder: text('folder'), manifest_sha256: text('manifest_sha256') });
    if (type === 'BackupDeleted') this.sealed.delete(backupId);
  }

  private untrusted(witness: Witness, error: unknown): void {
    this.found.push(untrustedProblem(witness, error));
  }
}

function untrustedProblem({ source }: Witness, error: unknown): Problem {
  if (!(error instanceof NoteError)) throw error;
  return { kind: 'checkpoint_untrusted', first_event: null, first_position: null, last_event: null, detail: `the checkpoint of ${source}: ${error.message}` };
}

function textOf(data: JsonObject, name: string): string {
  const value = data[name];
  return typeof value === 'string' ? value : '';
}
