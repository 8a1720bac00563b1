import { describe, expect, it } from '@jest/globals';
import { loggerFor } from '../../../lib/logging/logger.js';
import { Reconciler } from './reconciler.js';

describe('Reconciler', () => {
  it('resumes unfinished items, runs each until it is done, and retries steps that throw', async () => {
    const steps: string[] = [];
    const finished = Promise.withResolvers<undefined>();
    const step = async (id: string): Promise<boolean> => {
      steps.push(id);
      if (id === 'left' && steps.length === 1) throw new Error('not yet');
      const through = steps.filter((each) => each === id).length === 3;
      if (through && id === 'left') finished.resolve(undefined);
      return Promise.resolve(through);
    };
    const work = new Reconciler({ what: 'thing', step, unfinished: () => Promise.resolve(['left']) }, loggerFor('spec'));
    work.start(Promise.resolve());
    await finished.promise;
    await work.end();
    expect(steps).toEqual(['left', 'left', 'left']);
    work.drive('late');
    expect(steps).toHaveLength(3);
  });

  it('runs one step of an item at a time, and interrupts it on stop', async () => {
    let begun = 0;
    const step = (_id: string, stopped: AbortSignal): Promise<boolean> => {
      begun += 1;
      return new Promise((resolve) => stopped.addEventListener('abort', () => resolve(true), { once: true }));
    };
    const work = new Reconciler({ what: 'thing', step, unfinished: () => Promise.resolve([]) }, loggerFor('spec'));
    work.drive('a');
    work.drive('a');
    work.stop('a', 'cancelled');
    work.drive('b');
    await work.end();
    expect(begun).toBe(2);
  });
});
