import { describe, expect, it } from '@jest/globals';
import { loggerFor } from '../../../lib/logging/logger.js';
import { Reconciler, type StepOutcome } from './reconciler.js';

const log = loggerFor('spec');

describe('Reconciler', () => {
  it('resumes unfinished items, runs each until it is done, and retries steps that throw', async () => {
    const steps: string[] = [];
    const finished = Promise.withResolvers<undefined>();
    const step = (id: string): Promise<StepOutcome> => {
      steps.push(id);
      if (steps.length === 1) return Promise.reject(new Error('not yet'));
      if (steps.length < 3) return Promise.resolve('progressed');
      finished.resolve(undefined);
      return Promise.resolve('done');
    };
    const work = new Reconciler({ what: 'thing', step, unfinished: () => Promise.resolve(['left']) }, log);
    work.start(Promise.resolve());
    await finished.promise;
    await work.end();
    expect(steps).toEqual(['left', 'left', 'left']);
    work.poke('late');
    expect(steps).toHaveLength(3);
  });

  it('runs one step of an item at a time, and interrupts it on stop', async () => {
    let begun = 0;
    const step = (_id: string, stopped: AbortSignal): Promise<StepOutcome> => {
      begun += 1;
      if (stopped.aborted) return Promise.resolve('done');
      return new Promise((resolve) => stopped.addEventListener('abort', () => resolve('progressed'), { once: true }));
    };
    const work = new Reconciler({ what: 'thing', step, unfinished: () => Promise.resolve([]) }, log);
    work.poke('a');
    work.poke('a');
    expect(begun).toBe(1);
    work.stop('a', 'cancelled');
    await new Promise(setImmediate);
    expect(begun).toBe(2);
    work.poke('b');
    await work.end();
    expect(begun).toBe(3);
  });

  it('lets a waiting item look again at a poke, and one that was poked during its last step', async () => {
    const steps: string[] = [];
    const waiting = Promise.withResolvers<undefined>();
    const finished = Promise.withResolvers<undefined>();
    const step = async (id: string): Promise<StepOutcome> => {
      steps.push(id);
      if (steps.length === 1) {
        waiting.resolve(undefined);
        return 'waiting';
      }
      if (steps.length === 2) {
        work.poke(id);
        await Promise.resolve();
        return 'done';
      }
      finished.resolve(undefined);
      return 'done';
    };
    const work = new Reconciler({ what: 'thing', step, unfinished: () => Promise.resolve([]) }, log);
    expect(work.wake('a')).toBe(false);
    work.poke('a');
    await waiting.promise;
    await new Promise(setImmediate);
    expect(steps).toHaveLength(1);
    expect(work.wake('a')).toBe(true);
    await finished.promise;
    expect(steps).toEqual(['a', 'a', 'a']);
    await work.end();
  });

  it('looks again after the time that a step asked for', async () => {
    let steps = 0;
    const finished = Promise.withResolvers<undefined>();
    const step = (): Promise<StepOutcome> => {
      steps += 1;
      if (steps === 2) finished.resolve(undefined);
      return Promise.resolve(steps === 1 ? { waitingMs: 1 } : 'done');
    };
    const work = new Reconciler({ what: 'thing', step, unfinished: () => Promise.resolve([]) }, log);
    work.poke('a');
    await finished.promise;
    await work.end();
    expect(steps).toBe(2);
  });
});
