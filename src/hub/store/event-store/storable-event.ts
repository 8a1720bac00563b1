import { DomainError } from '../../../kernel/domain-error.js';
import type { JsonValue } from '../../../kernel/json.js';
import { isUuid } from '../../../kernel/uuid.js';
import { AppendTooLargeError, type EventToAppend, MAX_APPEND_BYTES } from './event-store.port.js';

/** An append in the form that the store's function takes. */
export interface SerialisedAppend {
  /** JSON array of the events, each with `id`, `type`, `data`, `metadata`. */
  readonly json: string;
  /** Bytes of data and metadata as JSON. */
  readonly bytes: number;
}

/** JSON always escapes NUL and unpaired surrogates, so text without an escape (most text) needs no closer check. */
const ESCAPE = '\\u';

/**
 * Rejects, before anything is written, values that not every store can keep: NUL and unpaired surrogates in texts (PostgreSQL text cannot
 * hold them), ids that are not UUIDs, and empty appends.
 * @throws DomainError `text_not_storable` or `event_not_storable`; AppendTooLargeError
 */
export function serialiseAppend(stream: string, events: readonly EventToAppend[]): SerialisedAppend {
  if (stream === '') throw new DomainError('invalid', 'event_not_storable', 'a stream needs a name', {});
  checkText(stream, 'stream name', stream);
  if (events.length === 0) throw new DomainError('invalid', 'event_not_storable', `stream ${stream}: an append needs at least one event`, { stream });
  let bytes = 0;
  const serialised = events.map((event) => {
    if (!isUuid(event.id)) {
      throw new DomainError('invalid', 'event_not_storable', `stream ${stream}: event id ${JSON.stringify(event.id)} is not a UUID`, { stream });
    }
    const data = JSON.stringify(event.data);
    const metadata = JSON.stringify(event.metadata);
    checkText(event.type, 'event type', stream);
    if (data.includes(ESCAPE)) checkTexts(event.data, 'data', stream);
    if (metadata.includes(ESCAPE)) checkTexts({ ...event.metadata }, 'metadata', stream);
    bytes += Buffer.byteLength(data) + Buffer.byteLength(metadata);
    return `{"id":"${event.id}","type":${JSON.stringify(event.type)},"data":${data},"metadata":${metadata}}`;
  });
  if (bytes > MAX_APPEND_BYTES) throw new AppendTooLargeError(stream, bytes);
  return { json: `[${serialised.join(',')}]`, bytes };
}

/** Applies the same rules for a store that needs no JSON. @returns bytes of data and metadata as JSON */
export function checkStorable(stream: string, events: readonly EventToAppend[]): number {
  return serialiseAppend(stream, events).bytes;
}

function checkTexts(value: JsonValue | undefined, where: string, stream: string): void {
  if (typeof value === 'string') {
    checkText(value, where, stream);
  } else if (Array.isArray(value)) {
    const members: readonly JsonValue[] = value;
    members.forEach((member, index) => {
      checkTexts(member, `${where}[${index}]`, stream);
    });
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, member] of Object.entries(value)) {
      checkText(key, `a member name in ${where}`, stream);
      checkTexts(member, `${where}.${key}`, stream);
    }
  }
}

function checkText(text: string, where: string, stream: string): void {
  if (text.includes('\0')) throw notStorable(where, stream, 'a NUL character');
  if (!text.isWellFormed()) throw notStorable(where, stream, 'an unpaired surrogate');
}

function notStorable(where: string, stream: string, what: string): DomainError {
  const printable = stream.toWellFormed().replaceAll('\0', '\\0');
  return new DomainError('invalid', 'text_not_storable', `stream ${printable}: ${where} contains ${what}, which cannot be stored; remove it`, {
    stream: printable,
    where: where.toWellFormed().replaceAll('\0', '\\0'),
  });
}
