import { describe, expect, it } from '@jest/globals';
import { histories } from '../../../../../test/support/backup-histories.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { EventStoreUnavailableError } from '../../../store/event-store/event-store.port.js';
import { evolveBackup, initialBackupState } from '../model/backup.state.js';
import { type ActorHost, BackupActor } from './backup-actor.reactor.js';

const running = histories.targeted.reduce(evolveBackup, initialBackupState);

/** How an actor reacts when its first step fails with this error: the run fails, or the step is tried again. */
async function reactionTo(error: unknown): Promise<'failed' | 'tried again'> {
  const { promise, resolve } = Promise.withResolvers<'failed' | 'tried again'>();
  let attempts = 0;
  const host: ActorHost = {
    load: () => Promise.resolve(running),
    plan: () => Promise.resolve([{ step: 'create_targets' }]),
    execute: () => {
      attempts += 1;
      // The test passes any thrown value, not only errors.
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
      if (attempts === 1) return Promise.reject(error);
      resolve('tried again');
      return Promise.resolve('waiting');
    },
    fail: () => {
      resolve('failed');
      return Promise.resolve();
    },
    observed: () => undefined,
    warn: () => undefined,
  };
  const actor = new BackupActor('b1', host);
  actor.poke();
  const reaction = await promise;
  await actor.stop();
  return reaction;
}

describe('a step of a running backup that fails', () => {
  it.each([
    ['the event store is unavailable', new EventStoreUnavailableError('away')],
    ['the database is unavailable', new Error('Connection terminated unexpectedly')],
    ['the database refuses connections', Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED', syscall: 'connect' })],
    ['a query was cut off', Object.assign(new Error('query failed'), { driverError: Object.assign(new Error('terminating connection'), { code: '57P01' }) })],
    ['the read models are behind', new DomainError('unavailable', 'read_model_behind', 'behind')],
  ])('is tried again when %s', async (_title, error) => {
    expect(await reactionTo(error)).toBe('tried again');
  });

  it.each([
    ['a rule was broken', new DomainError('conflict', 'repository_not_found', 'gone')],
    ['a file is missing', Object.assign(new Error('ENOENT: no such file'), { code: 'ENOENT', syscall: 'open', path: '/srv/backups/x' })],
    ['a statement is wrong', Object.assign(new Error('query failed'), { driverError: Object.assign(new Error('no such column'), { code: '42703' }) })],
    ['something unforeseen happened', new TypeError('x is undefined')],
  ])('fails the run when %s', async (_title, error) => {
    expect(await reactionTo(error)).toBe('failed');
  });
});
