import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { NbdExportEvent, NbdExportRequested } from '../model/nbd-export.events.js';
import { evolveNbdExport, initialNbdExportState } from '../model/nbd-export.state.js';
import { decideRecordExport } from './record-export.decide.js';

const { given } = specificationOf({ initialState: initialNbdExportState, evolve: evolveNbdExport, decide: decideRecordExport });
const at = '2026-11-21T10:00:00.000Z';
const request: NbdExportRequested['data'] = {
  export_id: 'e-1',
  job_id: 'job',
  export_name: 'backup-vm-disk0',
  port: 10100,
  file: '/repo/disk-0.qcow2',
  read_only: false,
  shared_limit: 10,
  requested_at: at,
};
const requested = { type: 'NbdExportRequested', data: request } satisfies NbdExportEvent;
const started = { type: 'NbdExportStarted', data: { pid: 7, process_start_ticks: '1', boot_id: 'b', started_at: at } } satisfies NbdExportEvent;
const failed = { type: 'NbdExportStartFailed', data: { code: 'exited_early', exit_code: 1, stderr: 'no', failed_at: at } } satisfies NbdExportEvent;
const stopped = { type: 'NbdExportStopped', data: { signal: 'SIGTERM', stopped_at: at } } satisfies NbdExportEvent;
const exited = { type: 'NbdExportExited', data: { exit_code: 137, stderr: '', detected_at: at } } satisfies NbdExportEvent;

describe('an export', () => {
  it('is requested once', () => {
    given().when({ kind: 'requested', data: request }).then(requested);
    for (const history of [[requested], [requested, started], [requested, failed], [requested, started, stopped]]) {
      given(...history)
        .when({ kind: 'requested', data: { ...request, requested_at: 'later' } })
        .then();
    }
  });

  it('is refused when the same id was requested with other parameters', () => {
    given(requested)
      .when({ kind: 'requested', data: { ...request, file: '/other' } })
      .thenRefused('nbd_export_differs');
    given(requested)
      .when({ kind: 'requested', data: { ...request, port: 10101 } })
      .thenRefused('nbd_export_differs');
  });

  it.each([{ export_id: '../x' }, { file: 'relative.qcow2' }, { export_name: '' }, { export_name: 'ü'.repeat(33) }, { shared_limit: -1 }])(
    'is refused with %j',
    (wrong) => {
      given()
        .when({ kind: 'requested', data: { ...request, ...wrong } })
        .thenRefused('nbd_export_invalid');
    },
  );

  it('starts, or fails to start, only after it was requested and only once', () => {
    given(requested).when({ kind: 'started', data: started.data }).then(started);
    given(requested).when({ kind: 'start_failed', data: failed.data }).then(failed);
    given().when({ kind: 'started', data: started.data }).then();
    given(requested, started).when({ kind: 'started', data: started.data }).then();
    given(requested, stopped).when({ kind: 'started', data: started.data }).then();
    given(requested, stopped).when({ kind: 'start_failed', data: failed.data }).then();
  });

  it('is stopped while it may run, and never twice', () => {
    given(requested).when({ kind: 'stopped', data: stopped.data }).then(stopped);
    given(requested, started).when({ kind: 'stopped', data: stopped.data }).then(stopped);
    given().when({ kind: 'stopped', data: stopped.data }).then();
    given(requested, failed).when({ kind: 'stopped', data: stopped.data }).then();
    given(requested, started, exited).when({ kind: 'stopped', data: stopped.data }).then();
  });

  it('exits on its own only while it was needed', () => {
    given(requested, started).when({ kind: 'exited', data: exited.data }).then(exited);
    given(requested).when({ kind: 'exited', data: exited.data }).then();
    given(requested, started, stopped).when({ kind: 'exited', data: exited.data }).then();
  });
});
