import { DomainError } from '../../kernel/domain-error.js';
import type { JsonValue } from '../../kernel/json.js';
import { AppendTooLargeError, type EventToAppend, MAX_APPEND_BYTES } from './event-store.port.js';

const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

/**
 * Refuses, before anything is written, what not every store can keep: NUL and unpaired surrogates in texts (they are no legal text for
 * PostgreSQL), ids that are no UUIDs, and appends of nothing.
 * @returns bytes of data and metadata as JSON
 * @throws DomainError `text_not_storable` or `event_not_storable`; AppendTooLargeError
 */
export function checkStorable(stream: string, events: readonly EventToAppend[]): number {
  if (stream === '') throw new DomainError('invalid', 'event_not_storable', 'a stream needs a name', {});
  checkText(stream, 'stream name', stream);
  if (events.length === 0) throw new DomainError('invalid', 'event_not_storable', `stream ${stream}: an append needs at least one event`, { stream });
  let bytes = 0;
  for (const event of events) {
    if (!UUID.test(event.id)) {
      throw new DomainError('invalid', 'event_not_storable', `stream ${stream}: event id ${JSON.stringify(event.id)} is not a UUID`, { stream });
    }
    checkText(event.type, 'event type', stream);
    checkTexts(event.data, 'data', stream);
    checkTexts({ ...event.metadata }, 'metadata', stream);
    bytes += Buffer.byteLength(JSON.stringify(event.data)) + Buffer.byteLength(JSON.stringify(event.metadata));
  }
  if (bytes > MAX_APPEND_BYTES) throw new AppendTooLargeError(stream, bytes);
  return bytes;
}

function checkTexts(value: JsonValue | undefined, where: string, stream: string): void {
  if (typeof value === 'string') {
    checkText(value, where, stream);
  } else if (Array.isArray(value)) {
    value.forEach((member, index) => {
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
