import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Clock } from '../clock/clock.js';
import { MetricsRegistry } from './metrics-registry.js';
import { type RefusalReport, Refusals } from './refusals.js';

class ClockOfTest extends Clock {
  ms = Date.parse('2026-11-22T10:00:00Z');
  override now(): Date {
    return new Date(this.ms);
  }
}

let clock: ClockOfTest;
let registry: MetricsRegistry;
let refusals: Refusals;
let reports: RefusalReport[];

beforeEach(() => {
  jest.useFakeTimers();
  clock = new ClockOfTest();
  registry = new MetricsRegistry();
  refusals = new Refusals(registry, clock, () => 2_000);
  reports = [];
  refusals.onReport((report) => reports.push(report));
});

afterEach(() => {
  refusals.onApplicationShutdown();
  jest.useRealTimers();
});

function refuse(sourceAddress = '10.0.0.7', code = 'token_invalid'): Promise<void> {
  return refusals.refused({ sourceAddress, code, method: 'GET', path: '/api/v1/vms' });
}

/** How long a refusal waits, rounded to 10 ms. */
async function delayOf(refusal: Promise<void>): Promise<number> {
  const seen = { done: false };
  void refusal.then(() => (seen.done = true));
  for (let waited = 0; ; waited += 10) {
    await Promise.resolve();
    await Promise.resolve();
    await Promise.resolve();
    if (seen.done || waited > 10_000) return waited;
    jest.advanceTimersByTime(10);
  }
}

describe('refused requests', () => {
  it('are reported immediately, and then once a minute with their count', async () => {
    await refuse();
    expect(reports).toEqual([
      {
        source_address: '10.0.0.7',
        refused: 1,
        code: 'token_invalid',
        method: 'GET',
        path: '/api/v1/vms',
        first_at: '2026-11-22T10:00:00.000Z',
        last_at: '2026-11-22T10:00:00.000Z',
      },
    ]);
    for (let count = 0; count < 5; count += 1) {
      clock.ms += 1_000;
      await refuse('10.0.0.7', 'token_missing');
    }
    expect(reports).toHaveLength(1);
    clock.ms += 60_000;
    refusals.reportPending();
    expect(reports[1]).toMatchObject({ refused: 5, code: 'token_missing', first_at: '2026-11-22T10:00:01.000Z', last_at: '2026-11-22T10:00:05.000Z' });
    clock.ms += 60_000;
    refusals.reportPending();
    expect(reports).toHaveLength(2);
  });

  it('are counted by code', async () => {
    await refuse();
    await refuse('10.0.0.8', 'token_missing');
    const text = await registry.text();
    expect(text).toContain('sendense_http_refusals_total{code="token_invalid"} 1');
    expect(text).toContain('sendense_http_refusals_total{code="token_missing"} 1');
  });

  it('from more addresses than are tracked count as others', async () => {
    for (let n = 0; n < 200; n += 1) await refuse(`10.1.${Math.floor(n / 256)}.${n % 256}`, 'token_missing');
    expect(reports).toHaveLength(101);
    expect(reports.at(-1)?.source_address).toBe('others');
    clock.ms += 60_000;
    refusals.reportPending();
    expect(reports.at(-1)).toMatchObject({ source_address: 'others', refused: 99 });
  });

  it('wait longer with each guess, up to the limit', async () => {
    for (let count = 0; count < 10; count += 1) expect(await delayOf(refuse())).toBe(0);
    expect(await delayOf(refuse())).toBe(100);
    expect(await delayOf(refuse())).toBe(200);
    for (let count = 0; count < 10; count += 1) await delayOf(refuse());
    expect(await delayOf(refuse())).toBe(2_000);
    expect(await delayOf(refuse('10.0.0.7', 'clocks_differ'))).toBe(0);
    expect(await delayOf(refuse('10.0.0.8'))).toBe(0);
  });

  it('beyond a limit of concurrent waits are answered without delay', async () => {
    for (let count = 0; count < 20; count += 1) await delayOf(refuse());
    const waiting = Array.from({ length: 32 }, () => refuse());
    expect(await delayOf(refuse())).toBe(0);
    jest.advanceTimersByTime(2_000);
    await Promise.all(waiting);
  });

  it('are forgotten after ten quiet minutes', async () => {
    for (let count = 0; count < 20; count += 1) await delayOf(refuse());
    clock.ms += 601_000;
    refusals.reportPending();
    expect(await delayOf(refuse())).toBe(0);
  });
});
