import { describe, expect, it } from '@jest/globals';
import { StorageGate } from './storage-gate.js';

describe('StorageGate', () => {
  it('abandons all accesses to a silent file system, and refuses new ones until each has returned', async () => {
    const seen: string[] = [];
    const gate = new StorageGate({ silence: () => new Error('silent'), onSilent: () => seen.push('silent'), onAnswer: () => seen.push('answers') });
    gate.foundSilent(1_000);
    expect(gate.silentMs).toBe(0);
    const hanging = [Promise.withResolvers<string>(), Promise.withResolvers<string>()] as const;
    const accesses = hanging.map(({ promise }) => gate.use(() => promise));
    gate.foundSilent(1_000);
    for (const access of accesses) await expect(access).rejects.toThrow('silent');
    expect(gate.silentMs).toBeGreaterThanOrEqual(1_000);
    let ran = false;
    const late = (): Promise<void> => {
      ran = true;
      return Promise.resolve();
    };
    await expect(gate.use(late)).rejects.toThrow('silent');
    hanging[0].resolve('at last');
    await hanging[0].promise;
    await expect(gate.use(late)).rejects.toThrow('silent');
    expect([ran, seen]).toEqual([false, ['silent']]);
    hanging[1].reject(new Error('a late failure'));
    await hanging[1].promise.catch(() => undefined);
    expect(gate.silentMs).toBe(0);
    await gate.use(late);
    expect([ran, seen]).toEqual([true, ['silent', 'answers']]);
  });

  it('passes results and errors on', async () => {
    const gate = new StorageGate({ silence: () => new Error('silent'), onSilent: () => undefined, onAnswer: () => undefined });
    await expect(gate.use(() => Promise.resolve(1))).resolves.toBe(1);
    await expect(gate.use(() => Promise.reject(new Error('no such file')))).rejects.toThrow('no such file');
    expect(gate.accesses).toBe(0);
  });
});
