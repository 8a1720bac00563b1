import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { decideOccurrence, type OccurrenceStep } from './occurrence.decide.js';
import type { OccurrenceBackupEnded, OccurrenceEnding, OccurrenceEvent, RunIdentity } from './occurrence.events.js';
import { evolveOccurrence, initialOccurrenceState } from './occurrence.state.js';

const { given } = specificationOf({ initialState: initialOccurrenceState, evolve: evolveOccurrence, decide: decideOccurrence });
const at = '2027-01-05T22:00:00.000Z';
const run: RunIdentity = {
  occurrence_id: 'o1',
  policy_id: 'p1',
  policy_name: 'nightly',
  policy_version: 1,
  trigger: 'schedule',
  due_at: at,
  wall_time: '2027-01-05T22:00',
  time_zone: 'UTC',
};
const vm = (vm_id: string) => ({ vm_id, vm_name: vm_id, because: 'name *', start_at: at });
const data = { ...run, repository_id: 'r1', backup_type: 'auto' as const, vms: [vm('v1'), vm('v2')], left_out: [], started_at: at };
const started: OccurrenceEnding = { type: 'OccurrenceStarted', data };
const ENDINGS: readonly OccurrenceEnding[] = [
  started,
  { type: 'OccurrenceCaughtUp', data },
  { type: 'OccurrenceSkipped', data: { ...run, reason: 'paused', detail: 'd', recorded_at: at } },
  { type: 'OccurrenceMissed', data: { ...run, reason: 'hub_down', detail: 'd', recorded_at: at } },
];
const request = (vm_id: string, attempt = 1) => ({ vm_id, attempt, backup_id: `b-${vm_id}-${attempt}`, requested_at: at });
const requested = (vm_id: string, attempt = 1): OccurrenceEvent => ({ type: 'OccurrenceBackupRequested', data: request(vm_id, attempt) });
const endOf = (vm_id: string, more: Partial<OccurrenceBackupEnded['data']> = {}): OccurrenceBackupEnded['data'] => ({
  vm_id,
  attempt: 1,
  outcome: 'completed',
  code: null,
  detail: null,
  retry_at: null,
  ended_at: at,
  ...more,
});
const ended = (vm_id: string, more: Partial<OccurrenceBackupEnded['data']> = {}): OccurrenceEvent => ({
  type: 'OccurrenceBackupEnded',
  data: endOf(vm_id, more),
});
const retried = { outcome: 'failed', code: 'node_silent', detail: 'd', retry_at: 'later' } as const;
const ask = (vm_id: string, attempt = 1): OccurrenceStep => ({ kind: 'backup_requested', data: request(vm_id, attempt) });
const end = (vm_id: string, more: Partial<OccurrenceBackupEnded['data']> = {}): OccurrenceStep => ({ kind: 'backup_ended', data: endOf(vm_id, more) });
const finish: OccurrenceStep = { kind: 'finish', finished_at: at };

describe('an occurrence', () => {
  it('has exactly one end, whatever comes second', () => {
    for (const ending of ENDINGS) {
      given().when({ kind: 'end', ending }).then(ending);
      for (const second of ENDINGS) given(ending).when({ kind: 'end', ending: second }).then();
    }
  });

  it('that did not start has no backups', () => {
    for (const ending of ENDINGS.slice(2)) for (const step of [ask('v1'), end('v1'), finish]) given(ending).when(step).then();
    for (const step of [ask('v1'), end('v1'), finish]) given().when(step).then();
  });

  it('records each backup and its end once', () => {
    given(started).when(ask('v1')).then(requested('v1'));
    given(started, requested('v1')).when(ask('v1')).then();
    given(started, requested('v1')).when(end('v1')).then(ended('v1'));
    given(started, requested('v1'), ended('v1')).when(end('v1')).then();
    given(started, requested('v1'), ended('v1')).when(ask('v1')).then();
    given(started).when(ask('stranger')).then();
  });

  it('records that a backup was refused without a request', () => {
    given(started)
      .when(end('v1', { outcome: 'refused', code: 'vm_not_found' }))
      .then(ended('v1', { outcome: 'refused', code: 'vm_not_found' }));
  });

  it('tries a backup again as its next attempt', () => {
    given(started, requested('v1'), ended('v1', retried)).when(ask('v1', 2)).then(requested('v1', 2));
    given(started, requested('v1'), ended('v1', retried)).when(ask('v1')).then();
    given(started, requested('v1'), ended('v1', retried)).when(end('v1')).then();
  });

  it('records the cancellation of a requested backup once', () => {
    const data = { vm_id: 'v1', attempt: 1, backup_id: 'b-v1-1', reason: 'concurrency_timeout', requested_at: at } as const;
    const cancel: OccurrenceStep = { kind: 'cancel_requested', data };
    const cancelling: OccurrenceEvent = { type: 'OccurrenceBackupCancelRequested', data };
    given(started, requested('v1')).when(cancel).then(cancelling);
    given(started, requested('v1'), cancelling).when(cancel).then();
    given(started).when(cancel).then();
    given(started, requested('v1'), ended('v1')).when(cancel).then();
    given(started, requested('v1'), cancelling)
      .when(end('v1', { outcome: 'cancelled', code: 'concurrency_timeout' }))
      .then(ended('v1', { outcome: 'cancelled', code: 'concurrency_timeout' }));
  });

  it('finishes when all backups have ended, with their count', () => {
    given(started, requested('v1'), ended('v1')).when(finish).then();
    given(started, ended('v1'), ended('v2', retried)).when(finish).then();
    given(started, ended('v1'), ended('v2', { outcome: 'failed' }))
      .when(finish)
      .then({ type: 'OccurrenceFinished', data: { completed: 1, not_completed: 1, finished_at: at } });
  });
});
