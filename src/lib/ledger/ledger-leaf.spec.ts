import { describe, expect, it } from '@jest/globals';
import { leafHashOf, leafOf, RECORDED_AT_BEFORE } from './ledger-leaf.js';

const event = {
  stream: 'vm-1',
  revision: 0,
  id: '0199a3c0-0001-7000-8000-000000000002',
  type: 'VmRegistered',
  data: { name: 'ö€"\u000f', sizes: [1e21, Number('333333333.33333329'), 4.5, 2e-3], left_out: undefined },
  metadata: { $correlationId: 'c', $causationId: 'b', actor: 'api:x', hub_id: 'h', schema_version: 1, time: '2026-11-21T10:30:00.000Z' },
  recordedAt: '2026-11-21T10:30:00.012Z',
};

describe('the leaf of an event', () => {
  it('is canonical JSON, with numbers and texts as RFC 8785 writes them', () => {
    expect(leafOf(event)).toBe(
      '{"data":{"name":"ö€\\"\\u000f","sizes":[1e+21,333333333.3333333,4.5,0.002]},"id":"0199a3c0-0001-7000-8000-000000000002",' +
        '"metadata":{"$causationId":"b","$correlationId":"c","actor":"api:x","hub_id":"h","schema_version":1,"time":"2026-11-21T10:30:00.000Z"},' +
        '"recorded_at":"2026-11-21T10:30:00.012Z","revision":0,"stream":"vm-1","type":"VmRegistered"}',
    );
  });

  it('does not depend on the order of members', () => {
    const { data, metadata, ...rest } = event;
    const turned = { ...rest, metadata: Object.fromEntries(Object.entries(metadata).reverse()), data: Object.fromEntries(Object.entries(data).reverse()) };
    expect(leafHashOf(turned)).toEqual(leafHashOf(event));
  });

  it('keeps the time of the first record when the event is copied to another store', () => {
    const copied = { ...event, recordedAt: '2027-01-01T00:00:00.000Z', metadata: { ...event.metadata, [RECORDED_AT_BEFORE]: event.recordedAt } };
    expect(leafOf(copied)).toBe(leafOf(event));
    expect(leafOf({ ...copied, metadata: event.metadata })).not.toBe(leafOf(event));
  });

  it.each([{ stream: 'vm-2' }, { revision: 1 }, { id: '0' }, { type: 'x' }, { data: {} }, { recordedAt: '2026-11-21T10:30:00.013Z' }])(
    'changes with %j',
    (change) => {
      expect(leafHashOf({ ...event, ...change })).not.toEqual(leafHashOf(event));
    },
  );
});
