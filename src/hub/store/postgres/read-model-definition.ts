import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { EntitySchema, type EntitySchemaColumnOptions } from 'typeorm';
import type { JsonObject, JsonValue } from '../../../kernel/json.js';

/** The PostgreSQL schema of all read models. */
export const SCHEMA = 'read_models';
/** The schema of the same names for a past instant: see `as-of.ts`. Read models are queried without a schema, so that the search path selects one of the two. */
export const AS_OF_SCHEMA = 'read_models_as_of';

export type ColumnType = 'text' | 'text[]' | 'integer' | 'bigint' | 'double precision' | 'boolean' | 'jsonb' | 'timestamptz';

/** A column, with the type of its value in a fold and the type in which TypeORM reads it. */
export class Column<Folded = unknown, Read = unknown> {
  declare readonly folded: Folded;
  declare readonly read: Read;

  constructor(
    readonly type: ColumnType,
    readonly isNullable = false,
    /** `C` if values are compared as bytes, as positions are. */
    readonly collation: 'C' | null = null,
    /** What of a value is more than progress; null: all of it. */
    readonly lasting: ((value: JsonValue | undefined) => JsonValue) | null = null,
  ) {}

  nullable(): Column<Folded | null, Read | null> {
    return new Column(this.type, true, this.collation, this.lasting);
  }

  /**
   * The column only shows progress: a change of it alone makes no version of the row. A past version has the last value that it had.
   * @param lasting the part of a value that is more than progress; default: none
   */
  progress(lasting: (value: Folded) => JsonValue = () => null): Column<Folded, Read> {
    // A fold writes only values of this type into the column.
    return new Column(this.type, this.isNullable, this.collation, lasting as (value: unknown) => JsonValue);
  }
}

export const text = <T extends string = string>(): Column<T, T> => new Column('text');
export const texts = (): Column<readonly string[], readonly string[]> => new Column('text[]');
export const integer = (): Column<number, number> => new Column('integer');
/** In a fold a number, exact up to 2^53; TypeORM reads it as a decimal string. */
export const bigint = (): Column<number, string> => new Column('bigint');
export const double = (): Column<number, number> => new Column('double precision');
export const boolean = (): Column<boolean, boolean> => new Column('boolean');
export const json = <T extends JsonValue>(): Column<T, T> => new Column('jsonb');
/** In a fold an ISO 8601 string in UTC; TypeORM reads it as a Date. */
export const instant = (): Column<string, Date> => new Column('timestamptz');
/** The position of an event, in the order of which rows can be listed. */
export const position = (): Column<string, string> => new Column('text', false, 'C');

/**
 * The one place where a read model's columns are written: its row types, its table and view, and its TypeORM entity are derived from it. Every row also has
 * the column `position`: the position of the event that last wrote it.
 */
export interface ReadModelDefinition<Name extends string = string> {
  /** Name of the view `read_models.<name>` over the live generation. */
  readonly name: string;
  /** The column that identifies a row. A read model with another key needs another name. */
  readonly key: Name;
  readonly columns: Readonly<Record<Name, Column>>;
  /** A `text[]` column that finds rows for events that do not contain their key. At most one row contains a given value. */
  readonly references?: Name;
  /** A `text` column whose rows are counted per value, for readers that would otherwise count the whole table. */
  readonly tallied?: Name;
  /** Indexes besides those of key and references, as they follow `create index on <table>`. */
  readonly indexes?: readonly string[];
  /** Raise it when the fold gives other rows for the same events: the read model is then rebuilt. Defaults to 1. */
  readonly version?: number;
}

/** A read model: TypeORM's entity, with the definition that it is derived from. */
export type ReadModel<Row extends object = object> = EntitySchema<Row> & { readonly definition: ReadModelDefinition };

type Columns = Readonly<Record<string, Column>>;
type Defined = { readonly definition: { readonly columns: Columns } };

/** The row in a fold. */
export type RowOf<Model extends Defined> = { readonly [Name in keyof Model['definition']['columns']]: Model['definition']['columns'][Name]['folded'] };
/** The row as queries read it. */
export type EntityOf<Model extends Defined> = EntityOfColumns<Model['definition']['columns']>;
type EntityOfColumns<Of extends Columns> = { readonly [Name in keyof Of]: Of[Name]['read'] } & { readonly position: string };

export function readModel<const Of extends Columns>(
  definition: ReadModelDefinition<keyof Of & string> & { readonly columns: Of },
): EntitySchema<EntityOfColumns<Of>> & { readonly definition: ReadModelDefinition<keyof Of & string> & { readonly columns: Of } } {
  const options = Object.entries<Column>({ ...definition.columns, position: position() }).map(
    ([name, { type, isNullable }]): [string, EntitySchemaColumnOptions] => [
      name,
      { ...(type === 'text[]' ? { type: 'text', array: true } : { type }), nullable: isNullable, primary: name === definition.key },
    ],
  );
  const entity = new EntitySchema<EntityOfColumns<Of>>({
    name: definition.name,
    synchronize: false,
    // Its names are those of the row type, which is derived from the same columns.
    columns: Object.fromEntries(options) as Record<keyof EntityOfColumns<Of>, EntitySchemaColumnOptions>,
  });
  return Object.assign(entity, { definition });
}

/** Identifies what the rows of a read model look like and mean. Rows of another shape have to be built from the events. */
export function shapeOf(definition: ReadModelDefinition): string {
  const { key, references, tallied, indexes, version } = definition;
  const progress = Object.entries(definition.columns).flatMap(([name, { lasting }]) => (lasting === null ? [] : [name]));
  const meaning = ['versions', columnsDdl(definition), progress, key, references, tallied, indexes, version ?? 1];
  return createHash('sha256').update(JSON.stringify(meaning)).digest('hex').slice(0, 16);
}

/** Whether the table needs to record since when a row's version is valid: without columns of progress, that is the row's position. */
export function recordsSince({ columns }: ReadModelDefinition): boolean {
  return Object.values<Column>(columns).some(({ lasting }) => lasting !== null);
}

/** Compares the versions of rows. */
export class VersionComparison {
  private readonly columns: readonly (readonly [name: string, lasting: Column['lasting']])[];
  private readonly everyEventMakesOne: boolean;

  constructor(definition: ReadModelDefinition) {
    this.columns = Object.entries<Column>(definition.columns).map(([name, { lasting }]) => [name, lasting]);
    this.everyEventMakesOne = !recordsSince(definition);
  }

  /** Whether a row differs from the one before in progress only. Without columns of progress, every event makes a version. */
  isSameVersion(before: JsonObject, after: JsonObject): boolean {
    if (this.everyEventMakesOne) return false;
    // A loop, because it runs over all columns for each event of a rebuild.
    for (const [name, lasting] of this.columns) {
      if (before[name] === after[name]) continue;
      const was = lasting === null ? before[name] : lasting(before[name]);
      const is = lasting === null ? after[name] : lasting(after[name]);
      if (was !== is && !isDeepStrictEqual(was, is)) return false;
    }
    return true;
  }
}

export function columnsDdl({ columns }: ReadModelDefinition): readonly string[] {
  return Object.entries({ ...columns, position: position() }).map(([name, column]) => columnDdl(name, column));
}

export function columnDdl(name: string, { type, isNullable, collation }: Column): string {
  return `${quoted(name)} ${type}${collation === null ? '' : ` collate "${collation}"`}${isNullable ? '' : ' not null'}`;
}

/** A value that every fold can continue from: lists are empty, and nothing is null. */
export function neutralValue(type: ColumnType): JsonValue {
  switch (type) {
    case 'text':
      return '';
    case 'integer':
    case 'bigint':
    case 'double precision':
      return 0;
    case 'boolean':
      return false;
    case 'text[]':
    case 'jsonb':
      return [];
    case 'timestamptz':
      return '1970-01-01T00:00:00.000Z';
  }
}

export function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`;
}
