import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { EventStore, type AppendResult, type EventToAppend, type Subscription } from './event-store.port.js';
import { FailpointEventStore, failpointSource, parseFailpoint } from './failpoint-event-store.js';

const metadata = { $correlationId: '', $causationId: '', actor: '', hub_id: '', schema_version: 1, time: '' };
const event = (type: string): EventToAppend => ({ id: '11111111-2222-4333-8444-555555555555', type, data: {}, metadata });

describe('the failpoint', () => {
  it('is parsed as before or after, event type and number', () => {
    expect(parseFailpoint('after:BackupPlanned:1')).toEqual({ when: 'after', eventType: 'BackupPlanned', nth: 1 });
    expect(parseFailpoint('before:DiskTransferFailed:12')).toEqual({ when: 'before', eventType: 'DiskTransferFailed', nth: 12 });
  });

  it.each(['BackupPlanned', 'after:BackupPlanned', 'after:BackupPlanned:0', 'during:BackupPlanned:1', 'after:backup planned:1', 'after:BackupPlanned:1:2'])(
    'rejects %s with the name of the variable',
    (text) => {
      expect(() => parseFailpoint(text)).toThrow(/SENDENSE_FAILPOINT is ".*", but must be before:<EventType>:<n>/);
    },
  );

  it.each([
    ['before', ['A', 'kill', 'B', 'A']],
    ['after', ['A', 'B', 'kill', 'A']],
  ] as const)('kills the process %s the nth append that contains the type, and only then', async (when, order) => {
    const happened: string[] = [];
    const store = new FailpointEventStore(new RecordingStore(happened), failpointSource(`${when}:B:2`), () => {
      happened.push('kill');
    });
    await store.append('s', 'any', [event('B')]);
    happened.length = 0;
    await store.append('s', 'any', [event('A')]);
    await store.append('s', 'any', [event('B')]);
    await store.append('s', 'any', [event('A')]);
    expect(happened).toEqual(order);
  });
});

describe('a failpoint in a file', () => {
  it('is active while the file exists, and counts from when it was written', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sendense-failpoint-'));
    const file = join(folder, 'failpoint');
    let kills = 0;
    const store = new FailpointEventStore(new RecordingStore([]), failpointSource(`file:${file}`), () => (kills += 1));
    await store.append('s', 'any', [event('B')]);
    await writeFile(file, 'before:B:2');
    await store.append('s', 'any', [event('B')]);
    expect(kills).toBe(0);
    await store.append('s', 'any', [event('B')]);
    expect(kills).toBe(1);
    await writeFile(file, 'after:B:1');
    await store.append('s', 'any', [event('B')]);
    expect(kills).toBe(2);
    await rm(folder, { recursive: true });
    await store.append('s', 'any', [event('B')]);
    expect(kills).toBe(2);
  });
});

class RecordingStore extends EventStore {
  constructor(private readonly happened: string[]) {
    super();
  }

  override async append(_stream: string, _expected: unknown, events: readonly EventToAppend[]): Promise<AppendResult> {
    this.happened.push(...events.map(({ type }) => type));
    return { revision: 0, position: '1', idempotent: false };
  }

  override async *read(): AsyncGenerator<never> {
    yield* [];
  }

  override subscribeToAll(): Subscription {
    return { ended: Promise.resolve(), close: () => Promise.resolve() };
  }

  override head(): Promise<string | null> {
    return Promise.resolve(null);
  }
}
