import { describe, expect, it } from '@jest/globals';
import { DomainError } from '../../../kernel/domain-error.js';
import { WorkerClosedError } from '../../../storage/storage-worker/storage-worker.js';
import { EventStoreUnavailableError } from '../event-store/event-store.port.js';
import { isStorageAway } from './step-failure.js';

describe('a failed step', () => {
  it.each([
    ['the event store is unavailable', new EventStoreUnavailableError('away')],
    ['the database is unavailable', new Error('Connection terminated unexpectedly')],
    ['the database refuses connections', Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED', syscall: 'connect' })],
    ['a query was cut off', Object.assign(new Error('query failed'), { driverError: Object.assign(new Error('terminating connection'), { code: '57P01' }) })],
    ['the read models are behind', new DomainError('unavailable', 'read_model_behind', 'behind')],
    ['the hub is shutting down', new WorkerClosedError('/srv/backups')],
  ])('decides nothing when %s', (_title, error) => {
    expect(isStorageAway(error)).toBe(true);
  });

  it.each([
    ['a rule was broken', new DomainError('conflict', 'repository_not_found', 'gone')],
    ['a file is missing', Object.assign(new Error('ENOENT: no such file'), { code: 'ENOENT', syscall: 'open', path: '/srv/backups/x' })],
    ['a statement is wrong', Object.assign(new Error('query failed'), { driverError: Object.assign(new Error('no such column'), { code: '42703' }) })],
    ['something unforeseen happened', new TypeError('x is undefined')],
  ])('is the outcome when %s', (_title, error) => {
    expect(isStorageAway(error)).toBe(false);
  });
});
