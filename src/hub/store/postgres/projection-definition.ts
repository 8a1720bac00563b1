import type { JsonObject } from '../../../kernel/json.js';
import type { Position } from '../../../kernel/position.js';
import type { RecordedEvent } from '../event-store/event-store.port.js';
import { type ReadModelDefinition, VersionComparison } from './read-model-definition.js';

/** Refers to all rows whose `references` column contains this value, instead of a row's key. */
export interface RowReference {
  readonly reference: string;
}

/**
 * Defines how events become the rows of a read model. Only pure data and pure functions, so that a rebuild produces the same rows.
 */
export interface Projection<Row extends JsonObject = JsonObject> extends ReadModelDefinition<keyof Row & string> {
  /** Categories of the streams it folds; null: all. */
  readonly categories: readonly string[] | null;
  /**
   * For a projection in which each event creates exactly one row: the columns as SQL expressions over a row of `event_store.events`. PostgreSQL then
   * copies a long history itself. The rows must equal those of `fold`, and there must be no `tallied`.
   */
  readonly copied?: { readonly [Column in keyof Row & string]: string };
  /** The rows that an event affects. A key creates a missing row; a reference finds only existing ones. */
  keys(event: RecordedEvent): readonly (string | RowReference)[];
  /** Members of a row that the event may find. Used by the check before events are stored, where empty lists would hide a problem. */
  specimen?(event: RecordedEvent): Partial<Row>;
  /** Returns the row after the event; null: no row (any more). A throw halts the projection at this event. */
  fold(row: Row | undefined, event: RecordedEvent, key: string): Row | null;
  /** For rows that depend on the order of all events: replaces `keys` and `fold`, which then give nothing. */
  readonly inOrder?: FoldInOrder<Row>;
}

/** Folds batches of events, each onto the newest row for each prefix of the keys. Batches of any size must give the same rows. */
export interface FoldInOrder<Row extends JsonObject = JsonObject> {
  readonly prefixes: readonly string[];
  /** Returns the rows to write; their positions must be those of events of the batch. */
  fold(newest: readonly Row[], events: readonly RecordedEvent[]): readonly { readonly row: Row; readonly position: Position }[];
}

/** A folded row, the position of the event that last wrote it, and the position since which its version is valid. */
export interface FoldedRow {
  readonly row: JsonObject;
  readonly position: Position;
  readonly since: Position;
}

/** A version of a row that the event at `until` ended. */
export interface PastVersion {
  readonly row: JsonObject;
  readonly since: Position;
  readonly until: Position;
}

/** What a batch of events does to the rows of a read model. */
export interface RowChanges {
  readonly written: readonly FoldedRow[];
  /** Keys of rows. */
  readonly deleted: readonly string[];
  readonly past: readonly PastVersion[];
}

/** The rows of a read model while events are folded into them. */
export class FoldedRows {
  private readonly rows = new Map<string, FoldedRow>();
  private readonly touched = new Set<string>();
  private readonly past: PastVersion[] = [];
  private readonly tally = new Map<string, number>();
  private readonly versions: VersionComparison;
  /** Keys of the rows that contain each reference. */
  private readonly holders = new Map<string, Set<string>>();

  constructor(
    private readonly projection: Projection,
    loaded: Iterable<FoldedRow> = [],
  ) {
    this.versions = new VersionComparison(projection);
    for (const folded of loaded) this.set(keyOf(projection, folded.row), folded);
  }

  /** Change in the number of rows per value of the tallied column, for the events applied so far. */
  tallyChanges(): readonly { readonly value: string; readonly rows: number }[] {
    return [...this.tally].filter(([, rows]) => rows !== 0).map(([value, rows]) => ({ value, rows }));
  }

  /** @throws errors of the projection's `fold`; the rows must then be discarded */
  apply(event: RecordedEvent): void {
    for (const key of this.resolve(event)) {
      const before = this.rows.get(key);
      const row = this.projection.fold(before?.row, event, key);
      this.touched.add(key);
      this.count(before?.row, -1);
      this.count(row ?? undefined, 1);
      const continues = before !== undefined && row !== null && this.versions.isSameVersion(before.row, row);
      if (before !== undefined && !continues) this.past.push({ row: before.row, since: before.since, until: event.position });
      if (row === null) this.delete(key);
      else this.set(key, { row, position: event.position, since: continues ? before.since : event.position });
    }
  }

  all(): readonly FoldedRow[] {
    return [...this.rows.values()];
  }

  /** For the events applied so far. */
  changes(): RowChanges {
    const written: FoldedRow[] = [];
    const deleted: string[] = [];
    for (const key of this.touched) {
      const folded = this.rows.get(key);
      if (folded === undefined) deleted.push(key);
      else written.push(folded);
    }
    return { written, deleted, past: this.past };
  }

  private count(row: JsonObject | undefined, change: number): void {
    const { tallied } = this.projection;
    const value = tallied === undefined ? undefined : row?.[tallied];
    if (typeof value === 'string') this.tally.set(value, (this.tally.get(value) ?? 0) + change);
  }

  private resolve(event: RecordedEvent): Set<string> {
    const keys = new Set<string>();
    for (const key of this.projection.keys(event)) {
      if (typeof key === 'string') keys.add(key);
      else for (const referring of this.referringTo(key.reference)) keys.add(referring);
    }
    return keys;
  }

  private referringTo(reference: string): string[] {
    if (this.projection.references === undefined) throw new Error(`projection ${this.projection.name} has no column of references`);
    return [...(this.holders.get(reference) ?? [])];
  }

  private set(key: string, folded: FoldedRow): void {
    this.hold(key, this.rows.get(key)?.row, folded.row);
    this.rows.set(key, folded);
  }

  private delete(key: string): void {
    this.hold(key, this.rows.get(key)?.row, undefined);
    this.rows.delete(key);
  }

  private hold(key: string, before: JsonObject | undefined, after: JsonObject | undefined): void {
    const column = this.projection.references;
    if (column === undefined || before?.[column] === after?.[column]) return;
    for (const reference of referencesOf(this.projection, before)) this.holders.get(reference)?.delete(key);
    for (const reference of referencesOf(this.projection, after)) {
      const keys = this.holders.get(reference);
      if (keys === undefined) this.holders.set(reference, new Set([key]));
      else keys.add(key);
    }
  }
}

/**
 * The rows most recently written by the only writer of a generation, identical to its table: during catch-up, most events affect one of them. The
 * number is bounded.
 */
export class RecentRows {
  /** Of a projection in order: the newest row for each prefix; null: not read yet. */
  newest: readonly JsonObject[] | null = null;
  private readonly rows = new Map<string, FoldedRow>();

  constructor(
    private readonly projection: Projection,
    private readonly limit: number,
  ) {}

  get(key: string): FoldedRow | undefined {
    return this.rows.get(key);
  }

  all(): Iterable<FoldedRow> {
    return this.rows.values();
  }

  /** Call after the changes of a batch are committed. */
  committed({ written, deleted }: RowChanges): void {
    for (const key of deleted) this.rows.delete(key);
    for (const folded of written) {
      const key = keyOf(this.projection, folded.row);
      this.rows.delete(key);
      this.rows.set(key, folded);
    }
    for (const oldest of this.rows.keys()) {
      if (this.rows.size <= this.limit) break;
      this.rows.delete(oldest);
    }
  }

  clear(): void {
    this.newest = null;
    this.rows.clear();
  }
}

/** The values of a row's `references` column. */
export function referencesOf(projection: Projection, row: JsonObject | undefined): readonly string[] {
  const references = projection.references === undefined ? [] : row?.[projection.references];
  return Array.isArray(references) ? references.filter((reference) => typeof reference === 'string') : [];
}

/** Folds a whole history in memory, as the reference for live and rebuilt read models. */
export function foldFromZero(projection: Projection, events: Iterable<RecordedEvent>): readonly FoldedRow[] {
  if (projection.inOrder !== undefined) return projection.inOrder.fold([], [...events]).map(({ row, position }) => ({ row, position, since: position }));
  const rows = new FoldedRows(projection);
  for (const event of events) rows.apply(event);
  return rows.all();
}

export function keyOf(projection: Projection, row: JsonObject): string {
  const key = row[projection.key];
  if (typeof key !== 'string' && typeof key !== 'number') throw new Error(`projection ${projection.name} returned a row without its key ${projection.key}`);
  return String(key);
}
