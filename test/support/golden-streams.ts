import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JsonObject } from '../../src/kernel/json.js';
import { derivedId } from '../../src/lib/clock/clock.js';
import type { EventToAppend, RecordedEvent } from '../../src/hub/store/event-store/event-store.port.js';

const FOLDER = join(import.meta.dirname, '..', 'golden-streams');

export interface GoldenStream {
  /** Name of the file without its ending: the kind of stream. */
  readonly kind: string;
  readonly stream: string;
  readonly events: readonly { readonly type: string; readonly time: string; readonly data: JsonObject }[];
}

/** Every event shape ever released, as it was stored. */
export function goldenStreams(): readonly GoldenStream[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith('.json'))
    .sort()
    .flatMap((file) => {
      // The files are written by hand in this one shape; a wrong one fails the replay.
      const content = JSON.parse(readFileSync(join(FOLDER, file), 'utf8')) as { streams: Omit<GoldenStream, 'kind'>[] };
      return content.streams.map((stream) => ({ ...stream, kind: file.slice(0, -'.json'.length) }));
    });
}

/** A golden stream as an append would take it. */
export function toAppend(golden: GoldenStream): readonly EventToAppend[] {
  return golden.events.map(({ type, time, data }, revision) => ({
    id: derivedId(`golden/${golden.stream}/${revision}`),
    type,
    data,
    metadata: {
      $correlationId: derivedId(`golden/correlation/${golden.stream}`),
      $causationId: derivedId(`golden/causation/${golden.stream}/${revision}`),
      actor: 'api:golden',
      hub_id: derivedId('golden/hub'),
      schema_version: 1,
      time,
    },
  }));
}

/** All golden events in the order of their times, as a store would give them back. */
export function goldenHistory(): readonly RecordedEvent[] {
  return goldenStreams()
    .flatMap((golden) => toAppend(golden).map((event, revision) => ({ golden, event, revision })))
    .sort((a, b) => a.event.metadata.time.localeCompare(b.event.metadata.time) || a.revision - b.revision)
    .map(({ golden, event, revision }, index) => ({
      ...event,
      stream: golden.stream,
      revision,
      position: String(index + 1).padStart(19, '0'),
      recordedAt: event.metadata.time,
    }));
}
