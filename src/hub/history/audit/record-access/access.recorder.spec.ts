import { describe, expect, it } from '@jest/globals';
import { InMemoryEventStore } from '../../../../../test/support/in-memory-event-store.js';
import { Clock, Ids } from '../../../../lib/clock/clock.js';
import type { RecordedEvent } from '../../../store/event-store/event-store.port.js';
import type { AccessReader, AccessToRecord } from '../model/access.commands.js';
import { accessStream } from '../model/access.events.js';
import { AccessRecorder } from './access.recorder.js';

class ClockOfTest extends Clock {
  ms = Date.parse('2026-11-22T10:00:00Z');
  override now(): Date {
    return new Date(this.ms);
  }
}

const BACKUP = '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11';
const ALICE: AccessReader = { actor: 'api:alice', correlationId: '0193a5c2-8a00-7000-8000-000000000001', sourceAddress: '10.0.0.1' };
const LOOK: AccessToRecord = {
  operation: 'list_files',
  backup_id: BACKUP,
  vm_name: 'vm',
  mount_id: '5a2f3c1e-0b7d-5e11-9a3c-000000000001',
  disk_index: 0,
  path: '/etc',
  resolved_path: '/etc',
  options: {},
};

function recorderOfTest() {
  const store = new InMemoryEventStore();
  const clock = new ClockOfTest();
  const recorder = new AccessRecorder(store, clock, new Ids(), '6b7e4f0a-0000-4000-8000-000000000001');
  const events = async (): Promise<RecordedEvent[]> => {
    const found: RecordedEvent[] = [];
    for await (const event of store.read(accessStream(BACKUP))) found.push(event);
    return found;
  };
  return { clock, recorder, events };
}

describe('the access log', () => {
  it('records who read what, and from where', async () => {
    const { recorder, events } = recorderOfTest();
    const accessId = await recorder.begun(LOOK, ALICE);
    const [event] = await events();
    expect(event).toMatchObject({
      type: 'RestorePointAccessed',
      data: { ...LOOK, access_id: accessId, source_address: '10.0.0.1', accessed_at: '2026-11-22T10:00:00.000Z' },
      metadata: { actor: 'api:alice', $correlationId: ALICE.correlationId },
    });
  });

  it('records the same look by the same reader once a minute', async () => {
    const { clock, recorder, events } = recorderOfTest();
    const first = await recorder.begun(LOOK, ALICE);
    clock.ms += 59_000;
    expect(await recorder.begun(LOOK, ALICE)).toBe(first);
    expect(await events()).toHaveLength(1);
    clock.ms += 1_000;
    await recorder.begun(LOOK, ALICE);
    expect(await events()).toHaveLength(2);
  });

  it.each([
    ['path', { ...LOOK, path: '/root' }, ALICE],
    ['target of a link', { ...LOOK, resolved_path: '/elsewhere' }, ALICE],
    ['option', { ...LOOK, options: { recursive: 'true' } }, ALICE],
    ['mount', { ...LOOK, mount_id: '5a2f3c1e-0b7d-5e11-9a3c-000000000002' }, ALICE],
    ['actor', LOOK, { ...ALICE, actor: 'api:bob' }],
    ['address', LOOK, { ...ALICE, sourceAddress: '10.0.0.2' }],
  ] as const)('records a look that differs in its %s', async (_what, access, reader) => {
    const { recorder, events } = recorderOfTest();
    await recorder.begun(LOOK, ALICE);
    await recorder.begun(access, reader);
    expect(await events()).toHaveLength(2);
  });

  it('records every download and its end', async () => {
    const { recorder, events } = recorderOfTest();
    for (let count = 0; count < 2; count += 1) {
      const accessId = await recorder.begun({ ...LOOK, operation: 'download' }, ALICE);
      await recorder.ended(BACKUP, { access_id: accessId, bytes_sent: 10, outcome: 'cut', detail: 'the client left' }, ALICE);
    }
    const kept = await events();
    expect(kept.map(({ type }) => type)).toEqual(['RestorePointAccessed', 'RestorePointAccessEnded', 'RestorePointAccessed', 'RestorePointAccessEnded']);
    expect(kept[1]?.data).toEqual({
      access_id: kept[0]?.data['access_id'],
      bytes_sent: 10,
      outcome: 'cut',
      detail: 'the client left',
      ended_at: '2026-11-22T10:00:00.000Z',
    });
  });
});
