import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { decideRestoreExport, type RestoreExportStep } from './restore-export.decide.js';
import type { RestoreExportEvent, RestoreExportRequested } from './restore-export.events.js';
import { evolveRestoreExport, initialRestoreExportState } from './restore-export.state.js';

const { given } = specificationOf({ initialState: initialRestoreExportState, evolve: evolveRestoreExport, decide: decideRestoreExport });
const at = (minute: number): string => `2026-11-21T10:${String(minute).padStart(2, '0')}:00.000Z`;
const request: RestoreExportRequested['data'] = {
  export_id: 'e1',
  backup_id: 'b1',
  vm_id: 'v1',
  vm_name: 'pgtest1',
  disk_index: 0,
  mode: 'read_only',
  export_name: 'restore-pgtest1-disk0-e1',
  file: '/repo/disk-0.qcow2',
  requested_at: at(0),
  expires_at: at(30),
};
const requested: RestoreExportEvent = { type: 'RestoreExportRequested', data: request };
const heldRequest: RestoreExportEvent = { type: 'RestoreExportRequested', data: { ...request, held_by: 'restore job j1' } };
const started = { type: 'RestoreExportStarted', data: { nbd_port: 10100, uri: 'nbds://h:10100/x', started_at: at(1) } } satisfies RestoreExportEvent;
const extended: RestoreExportEvent = { type: 'RestoreExportExtended', data: { expires_at: at(40) } };
const failed: RestoreExportEvent = { type: 'RestoreExportFailed', data: { code: 'c', detail: 'd', failed_at: at(1) } };
const ended = (reason: 'deleted' | 'expired' | 'server_exited'): RestoreExportEvent => ({ type: 'RestoreExportEnded', data: { reason, ended_at: at(2) } });
const cleanedUp: RestoreExportEvent = { type: 'RestoreExportCleanedUp', data: { cleaned_up_at: at(3) } };

const fail: RestoreExportStep = { kind: 'failed', code: 'c', detail: 'd', failed_at: at(1) };
const end = (reason: 'deleted' | 'expired' | 'server_exited', heldBy?: string | null): RestoreExportStep => ({
  kind: 'end',
  export_id: 'e1',
  reason,
  ...(heldBy === undefined ? {} : { held_by: heldBy }),
  ended_at: at(2),
});
const extend = (minute: number): RestoreExportStep => ({ kind: 'extended', expires_at: at(minute) });
const cleanUp: RestoreExportStep = { kind: 'cleaned_up', cleaned_up_at: at(3) };

describe('an export of a restore point', () => {
  it('is requested once, and not again under its id when it has ended', () => {
    given().when({ kind: 'request', data: request }).then(requested);
    for (const history of [[requested], [requested, started], [requested, failed], [requested, started, ended('expired'), cleanedUp]]) {
      given(...history)
        .when({ kind: 'request', data: request })
        .then();
    }
  });

  it('starts or fails only while it is starting', () => {
    given(requested).when({ kind: 'started', data: started.data }).then(started);
    given(requested).when(fail).then(failed);
    for (const history of [[], [requested, started], [requested, failed], [requested, ended('deleted')]]) {
      given(...history)
        .when({ kind: 'started', data: started.data })
        .then();
      given(...history)
        .when(fail)
        .then();
    }
  });

  it('gets a later deadline while it runs, never an earlier one or the same', () => {
    given(requested, started).when(extend(40)).then(extended);
    given(requested, started).when(extend(30)).then();
    given(requested, started).when(extend(29)).then();
    given(requested, started, extended).when(extend(40)).then();
    given(requested).when(extend(40)).then();
    given(requested, started, ended('expired')).when(extend(40)).then();
  });

  it('ends while it starts or runs, for each reason, and only once', () => {
    for (const reason of ['deleted', 'expired', 'server_exited'] as const) {
      given(requested).when(end(reason)).then(ended(reason));
      given(requested, started).when(end(reason)).then(ended(reason));
      given(requested, failed).when(end(reason)).then();
      given(requested, started, ended('expired')).when(end(reason)).then();
    }
  });

  it('cannot end when there is none', () => {
    given().when(end('deleted')).thenRefused('restore_export_not_found', { export_id: 'e1' });
  });

  it('is deleted by its holder alone', () => {
    given(heldRequest, started).when(end('deleted', 'restore job j1')).then(ended('deleted'));
    for (const other of [undefined, null, 'restore job j2']) {
      given(heldRequest, started).when(end('deleted', other)).thenRefused('restore_export_held', { export_id: 'e1' });
    }
  });

  it("of a user is not a job's to delete", () => {
    given(requested, started).when(end('deleted', null)).then(ended('deleted'));
    given(requested, started).when(end('deleted', 'restore job j1')).thenRefused('restore_export_held', { export_id: 'e1' });
  });

  it('ends by itself also when something holds it', () => {
    given(heldRequest, started).when(end('server_exited')).then(ended('server_exited'));
    given(heldRequest, started).when(end('expired')).then(ended('expired'));
  });

  it('that has ended may be deleted by anybody, which changes nothing', () => {
    given(heldRequest, started, ended('server_exited')).when(end('deleted')).then();
  });

  it('is cleaned up once, after it has failed or ended', () => {
    given(requested, failed).when(cleanUp).then(cleanedUp);
    given(requested, started, ended('deleted')).when(cleanUp).then(cleanedUp);
    for (const history of [[], [requested], [requested, started], [requested, failed, cleanedUp], [requested, started, ended('deleted'), cleanedUp]]) {
      given(...history)
        .when(cleanUp)
        .then();
    }
  });
});
