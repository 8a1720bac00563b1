import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { decideVerification } from './verification.decide.js';
import type { BootChecked, VerificationEvent, VerificationFinding, VerificationRequested } from './verification.events.js';
import { evolveVerification, initialVerificationState } from './verification.state.js';

const { given } = specificationOf({ initialState: initialVerificationState, evolve: evolveVerification, decide: decideVerification });
const at = '2026-11-21T10:00:00.000Z';
const request: VerificationRequested['data'] = {
  verification_id: 'x1',
  backup_id: 'b1',
  vm_id: 'v1',
  vm_name: 'pgtest1',
  repository_id: 'r1',
  repository_path: '/srv/backups',
  chain_id: 'c1',
  points: [],
  requested_at: at,
};
const checked = { files_checked: 2, bytes_checked: 1200 };
const finding: VerificationFinding = { code: 'file_altered', backup_id: 'b1', file: 'f/disk-0.qcow2', detail: 'd' };
const verdict: BootChecked['data'] = {
  verdict: 'booted',
  sign: 'console_text',
  detail: 'd',
  seconds: 12,
  changes: [],
  artefacts: [],
  screenshot_problem: null,
  checked_at: at,
};

const requested: VerificationEvent = { type: 'VerificationRequested', data: request };
const bootStarted = (attempt: number): VerificationEvent => ({ type: 'BootCheckStarted', data: { attempt, ...checked, started_at: at } });
const booted: VerificationEvent = { type: 'BootChecked', data: verdict };
const notBooted: VerificationEvent = { type: 'BootChecked', data: { ...verdict, verdict: 'not_booted', sign: null } };
const passed: VerificationEvent = { type: 'VerificationPassed', data: { ...checked, finished_at: at } };
const failed = (...findings: readonly VerificationFinding[]): VerificationEvent => ({
  type: 'VerificationFailed',
  data: { findings, ...checked, finished_at: at },
});
const aborted: VerificationEvent = { type: 'VerificationAborted', data: { code: 'storage_away', detail: 'd', finished_at: at } };

const conclude = (...findings: readonly VerificationFinding[]) => ({ kind: 'conclude' as const, findings, ...checked, finished_at: at });
const startBoot = (attempt: number) => ({ kind: 'boot_started' as const, attempt, ...checked, started_at: at });
const abort = { kind: 'abort', code: 'storage_away', detail: 'd', finished_at: at } as const;
const ENDS = [[passed], [failed(finding)], [aborted]];

describe('a verification', () => {
  it('is requested once', () => {
    given().when({ kind: 'request', data: request }).then(requested);
    given(requested)
      .when({ kind: 'request', data: { ...request, requested_at: 'later' } })
      .then();
    given(requested, passed).when({ kind: 'request', data: request }).then();
  });

  it('passes when nothing was found', () => {
    given(requested).when(conclude()).then(passed);
    given(requested, bootStarted(1), booted).when(conclude()).then(passed);
  });

  it('fails with whatever was found, though the guest has booted', () => {
    given(requested).when(conclude(finding)).then(failed(finding));
    given(requested, bootStarted(1), booted).when(conclude(finding, finding)).then(failed(finding, finding));
  });

  it('fails without a finding when the guest has not booted: its files are sound', () => {
    given(requested, bootStarted(1), notBooted).when(conclude()).then(failed());
  });

  it('is aborted without a verdict when the storage or a tool is away', () => {
    given(requested).when(abort).then(aborted);
    given(requested, bootStarted(1)).when(abort).then(aborted);
  });

  it('has one end, whatever comes too late', () => {
    for (const end of ENDS) {
      for (const late of [conclude(), conclude(finding), abort, startBoot(1)]) {
        given(requested, ...end)
          .when(late)
          .then();
      }
      given(requested, bootStarted(1), ...end)
        .when({ kind: 'boot_checked', data: verdict })
        .then();
    }
  });

  it('records nothing before it was requested', () => {
    for (const early of [conclude(), abort, startBoot(1), { kind: 'boot_checked' as const, data: verdict }]) given().when(early).then();
  });
});

describe('the boot of a verification', () => {
  it('starts once in each attempt, and in no earlier one afterwards', () => {
    given(requested).when(startBoot(1)).then(bootStarted(1));
    given(requested, bootStarted(1)).when(startBoot(1)).then();
    given(requested, bootStarted(1)).when(startBoot(2)).then(bootStarted(2));
    given(requested, bootStarted(2)).when(startBoot(1)).then();
  });

  it('has one verdict, and only after it has started', () => {
    given(requested, bootStarted(1)).when({ kind: 'boot_checked', data: verdict }).then(booted);
    given(requested).when({ kind: 'boot_checked', data: verdict }).then();
    given(requested, bootStarted(1), notBooted).when({ kind: 'boot_checked', data: verdict }).then();
  });

  it('is not tried again after its verdict', () => {
    given(requested, bootStarted(1), notBooted).when(startBoot(2)).then();
  });
});
