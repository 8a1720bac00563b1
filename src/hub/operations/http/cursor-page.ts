import { applyDecorators } from '@nestjs/common';
import { ApiExtraModels, ApiOkResponse, getSchemaPath } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsInt, IsString, Max, MaxLength, Min } from 'class-validator';
import type { DataSource, EntityTarget, FindOperator, ObjectLiteral } from 'typeorm';
import { DomainError } from '../../../kernel/domain-error.js';
import type { JsonObject, JsonValue } from '../../../kernel/json.js';
import { isPosition, type Position } from '../../../kernel/position.js';
import { ApiProblem } from '../../../lib/http/problem-responses.decorator.js';
import { Optional } from '../../../contract/validation/presence.decorators.js';
import { currentRequest } from '../../../lib/http/request-state.js';

export const DEFAULT_LIMIT = 100;
export const MAX_LIMIT = 1000;
/** Large enough for the longest sort key, a path. */
const MAX_CURSOR_LENGTH = 4096;
/** Largest number that a list sorts by: one below the maximum of PostgreSQL's integer, so that its successor exists too. */
const MAX_SORT_NUMBER = 2 ** 31 - 2;
/** Members of cursors that hold positions. */
const POSITION_MEMBER = /^as_of$|position$/;

/** Query of a list. Lists with filters extend it. */
export class PageQuery {
  /** Maximum number of entries per page @example 50 */
  @Optional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(MAX_LIMIT)
  limit: number = DEFAULT_LIMIT;

  /** The `next_cursor` of the previous page; omit for the first page @example "eyJpZCI6IjAxOTMifQ" */
  @Optional()
  @IsString()
  @MaxLength(MAX_CURSOR_LENGTH)
  cursor?: string;
}

/** A page of a list under its plural name: `{"backups": [...], "next_cursor": null}`. */
export type Page<Name extends string, Item> = { readonly [key in Name]: readonly Item[] } & { readonly next_cursor: string | null };

/**
 * Opaque text from which a list continues. Contains the sort key of the last returned entry, and the position of a list of the past; it is neither secret nor
 * trusted.
 */
export function encodeCursor(key: JsonObject): string {
  const as_of = currentRequest()?.instant?.position;
  return Buffer.from(JSON.stringify(as_of === undefined || as_of === null ? key : { ...key, as_of }), 'utf8').toString('base64url');
}

/** The position of the list of the past that a cursor continues; null: it continues no such list. */
export function instantOfCursor(cursor: string): string | null {
  const as_of = parsed(cursor)?.['as_of'];
  return typeof as_of === 'string' ? as_of : null;
}

/** Positions of events in a cursor: of its place in lists in the order of events, and of the past. */
export function positionsOfCursor(cursor: string): readonly Position[] {
  const members = Object.entries(parsed(cursor) ?? {});
  return members.flatMap(([name, value]) => (POSITION_MEMBER.test(name) && typeof value === 'string' && isPosition(value) ? [value] : []));
}

/** The refusal of a cursor of another list, or of another instant. */
export function cursorDiffers(): DomainError {
  return new DomainError(
    'invalid',
    'cursor_invalid',
    'The cursor does not belong to this list: pass the unchanged next_cursor of its previous page, or omit it.',
  );
}

/**
 * @param accepts whether the decoded value is a key of this list
 * @returns null if there is no cursor
 * @throws DomainError `cursor_invalid` for anything that is not a cursor of this list
 */
export function decodeCursor<Key extends JsonObject>(cursor: string | undefined, accepts: (key: JsonObject) => key is Key): Key | null {
  if (cursor === undefined) return null;
  const key = parsed(cursor);
  if (key === null || !accepts(key)) throw cursorDiffers();
  return key;
}

function parsed(cursor: string): JsonObject | null {
  if (cursor.length > MAX_CURSOR_LENGTH || !/^[A-Za-z0-9_-]+$/.test(cursor)) return null;
  try {
    // JSON.parse returns JSON by definition; its declared type is the looser any.
    const value = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')) as JsonValue;
    return isJsonObject(value) && Object.values(value).every(isSortKey) ? value : null;
  } catch {
    return null;
  }
}

/** The client controls the cursor, so its values must follow the rules of query values before any list uses them. */
function isSortKey(value: JsonValue | undefined): boolean {
  if (typeof value === 'string') return value.length <= MAX_CURSOR_LENGTH && value.isWellFormed() && !value.includes('\0');
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_SORT_NUMBER;
}

function isJsonObject(value: JsonValue): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Cuts a page out of `limit + 1` rows: the extra row shows whether another page follows.
 * @param keyOf sort key of a row, for the cursor
 */
export function pageOf<Name extends string, Row, Item>(
  name: Name,
  rows: readonly Row[],
  limit: number,
  keyOf: (row: Row) => JsonObject,
  itemOf: (row: Row) => Item,
): Page<Name, Item> {
  const given = rows.slice(0, limit);
  const last = given.at(-1);
  const next_cursor = rows.length > limit && last !== undefined ? encodeCursor(keyOf(last)) : null;
  // A computed member name of a generic type is widened to string by the compiler.
  return { [name]: given.map(itemOf), next_cursor } as Page<Name, Item>;
}

/** A list of a read model. */
export interface ReadModelList<Name extends string, Row extends ObjectLiteral, Item> {
  readonly name: Name;
  readonly readModel: EntityTarget<Row>;
  /** Text columns that sort the list, the last of them unique; a cursor holds their values. */
  readonly order: readonly (keyof Row & string)[];
  readonly direction: 'ASC' | 'DESC';
  /** What the rows must equal or satisfy; undefined filters nothing. */
  readonly filters: { readonly [Column in keyof Row]?: string | FindOperator<unknown> | undefined };
  readonly itemOf: (row: Row) => Item;
}

/** The page of a list that follows the cursor of the query. @throws DomainError `cursor_invalid` */
export async function readPage<Name extends string, Row extends ObjectLiteral, Item>(
  dataSource: DataSource,
  { limit, cursor }: PageQuery,
  { name, readModel, order, direction, filters, itemOf }: ReadModelList<Name, Row, Item>,
): Promise<Page<Name, Item>> {
  const place = decodeCursor(cursor, (key): key is Record<string, string> => order.every((column) => typeof key[column] === 'string'));
  const select = dataSource
    .getRepository(readModel)
    .createQueryBuilder('row')
    .where(Object.fromEntries(Object.entries(filters).filter(([, filter]) => filter !== undefined)))
    .take(limit + 1);
  for (const column of order) select.addOrderBy(`row.${column}`, direction);
  if (place !== null) {
    const columns = order.map((column) => `row.${column}`).join(', ');
    const values = order.map((column) => `:after_${column}`).join(', ');
    const parameters = Object.fromEntries(order.map((column) => [`after_${column}`, place[column]]));
    select.andWhere(`(${columns}) ${direction === 'ASC' ? '>' : '<'} (${values})`, parameters);
  }
  const keyOf = (row: Row): JsonObject => Object.fromEntries(order.map((column) => [column, row[column] as string]));
  return pageOf(name, await select.getMany(), limit, keyOf, itemOf);
}

/** Documents the responses of a list: a page of `item` under `name`, or a refusal of its query. */
export function ApiPage(name: string, item: abstract new (...args: never[]) => unknown, description: string): MethodDecorator {
  return applyDecorators(
    ApiProblem(400, 'validation_failed', 'cursor_invalid'),
    ApiExtraModels(item),
    ApiOkResponse({
      description,
      schema: {
        type: 'object',
        required: [name, 'next_cursor'],
        properties: {
          [name]: { type: 'array', items: { $ref: getSchemaPath(item.name) } },
          next_cursor: {
            type: ['string', 'null'],
            description: 'Pass as `cursor` for the next page; null on the last page',
            example: 'eyJpZCI6IjAxOTMifQ',
          },
        },
      },
    }),
  );
}
