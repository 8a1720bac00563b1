import { normalisedInstant } from '../../../kernel/instant.js';
import { messageOf } from '../../../kernel/error-message.js';
import type { JsonObject, JsonValue } from '../../../kernel/json.js';
import type { EventCheck } from '../event-store/checked-event-store.js';
import { categoryOf, type EventToAppend, type RecordedEvent } from '../event-store/event-store.port.js';
import type { Projection } from './projection-definition.js';
import { type ColumnType, neutralValue } from './read-model-definition.js';

const ANY_POSITION = '0'.repeat(19);
const MAX_INTEGER = 2 ** 31 - 1;
const MAX_BIGINT = 2 ** 63;

/**
 * Checks whether every projection can fold an event and store the row. Each fold is tried on a row of neutral values and on no row, and its result is checked
 * against the column rules. Pure functions, no database.
 */
export function eventCheckOf(projections: readonly Projection[]): EventCheck {
  const neutral = new Map(projections.map((projection) => [projection, neutralRow(projection)]));
  return (stream, event) => {
    const category = categoryOf(stream);
    for (const projection of projections) {
      if (projection.categories?.includes(category) === false) continue;
      const problem = problemOf(projection, neutral.get(projection) ?? {}, asRecorded(stream, event));
      if (problem !== null) return `projection ${projection.name}: ${problem}`;
    }
    return null;
  };
}

function problemOf(projection: Projection, neutral: JsonObject, event: RecordedEvent): string | null {
  try {
    const found: JsonObject = { ...neutral, ...projection.specimen?.(event) };
    for (const key of projection.keys(event)) {
      const name = typeof key === 'string' ? key : key.reference;
      if (typeof name !== 'string') return 'it does not name the row that it belongs to';
      let sound = neutral;
      for (const row of [projection.fold(found, event, name), ...foldedFromNothing(projection, event, name)]) {
        if (row === null) continue;
        const problem = rowProblem(projection, row, sound);
        if (problem !== null) return problem;
        sound = row;
      }
    }
    return null;
  } catch (error) {
    return `it cannot be folded: ${messageOf(error)}`;
  }
}

/** The row of an event that creates one; none if the event needs an existing row. */
function foldedFromNothing(projection: Projection, event: RecordedEvent, key: string): readonly (JsonObject | null)[] {
  try {
    return [projection.fold(undefined, event, key)];
  } catch {
    return [];
  }
}

/**
 * Returns why the projection's table cannot hold a row; null if it can.
 * @param sound a row without a problem; columns with the same value as in it are not checked again
 */
export function rowProblem(projection: Projection, row: JsonObject, sound: JsonObject = {}): string | null {
  for (const [column, { type, isNullable }] of Object.entries(projection.columns)) {
    const value = row[column] ?? null;
    if (value === sound[column]) continue;
    if (value === null) {
      if (!isNullable) return `column ${column} must not be null`;
    } else if (!fits(type, value)) {
      const shown = JSON.stringify(value);
      return `column ${column} takes ${type}, not ${shown.length > 100 ? `${shown.slice(0, 100)}...` : shown}`;
    }
  }
  return null;
}

function fits(type: ColumnType, value: JsonValue): boolean {
  switch (type) {
    case 'text':
      return typeof value === 'string';
    case 'text[]':
      return Array.isArray(value) && value.every((member) => typeof member === 'string');
    case 'integer':
      return typeof value === 'number' && Number.isInteger(value) && Math.abs(value) <= MAX_INTEGER;
    case 'bigint':
      return typeof value === 'number' && Number.isInteger(value) && Math.abs(value) < MAX_BIGINT;
    case 'double precision':
      return typeof value === 'number' && Number.isFinite(value);
    case 'boolean':
      return typeof value === 'boolean';
    case 'jsonb':
      return true;
    case 'timestamptz':
      return normalisedInstant(value) !== null;
  }
}

/** A row that every fold can continue from: its lists are empty, and nothing is null. */
function neutralRow(projection: Projection): JsonObject {
  return Object.fromEntries(Object.entries(projection.columns).map(([column, { type }]) => [column, neutralValue(type)]));
}

function asRecorded(stream: string, event: EventToAppend): RecordedEvent {
  return { ...event, stream, revision: 0, position: ANY_POSITION, recordedAt: event.metadata.time };
}
