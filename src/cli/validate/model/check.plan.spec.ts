import { describe, expect, it } from '@jest/globals';
import { type Check, fail, pass, runCheck, skip, type Verdict, warn, worst } from './check.plan.js';

const check = (run: () => Promise<Verdict>): Check => ({ id: 'database', role: 'hub', title: 'The database', run });

describe('several findings', () => {
  it('are well when nothing is wrong, also when some do not apply', () => {
    expect(worst([], 'all is well')).toEqual(pass('all is well'));
    expect(worst([pass('a'), skip('b')], 'all is well')).toEqual(pass('all is well'));
  });

  it('are as bad as the worst, with all of that kind named and no other', () => {
    expect(worst([warn('a', 'Do a.'), pass('b'), warn('c', 'Do c.')], 'all is well')).toEqual(warn('a; c', 'Do a. Do c.'));
    expect(worst([warn('a', 'Do a.'), fail('b', 'Do b.'), pass('c'), fail('d', 'Do d.')], 'all is well')).toEqual(fail('b; d', 'Do b. Do d.'));
  });

  it('name a remedy that they share once', () => {
    expect(worst([fail('a', 'Free space.'), fail('b', 'Free space.')], 'all is well')).toEqual(fail('a; b', 'Free space.'));
  });
});

describe('a check', () => {
  it('has its verdict as its result, with a remedy where something is wrong', async () => {
    const result = { id: 'database', role: 'hub', title: 'The database' };
    await expect(runCheck(check(async () => Promise.resolve(pass('fine'))))).resolves.toEqual({ ...result, status: 'pass', detail: 'fine', remedy: null });
    await expect(runCheck(check(async () => Promise.resolve(skip('not here'))))).resolves.toEqual({
      ...result,
      status: 'skip',
      detail: 'not here',
      remedy: null,
    });
    await expect(runCheck(check(async () => Promise.resolve(warn('slow', 'Add memory.'))))).resolves.toEqual({
      ...result,
      status: 'warn',
      detail: 'slow',
      remedy: 'Add memory.',
    });
  });

  it('that cannot be carried out has failed, with what it threw as the detail', async () => {
    await expect(runCheck(check(async () => Promise.reject(new Error('connection refused'))))).resolves.toMatchObject({
      id: 'database',
      status: 'fail',
      detail: expect.stringContaining('connection refused'),
      remedy: expect.stringContaining('The check itself failed'),
    });
  });
});
