import { describe, expect, it } from '@jest/globals';
import type { HealingPrepared, VerificationFinding, VerificationRequested } from '../model/verification.events.js';
import type { KnownVerification } from '../model/verification.state.js';
import { type Place, placesToHealFrom, pointsToHeal } from './heal.plan.js';

const point = { backup_id: 'b1', folder: 'vm/b1', manifest_sha256: 'm1', files: [{ file: 'disk-0.qcow2', size_bytes: 1, sha256: 'aa' }] };
const request: VerificationRequested['data'] = {
  verification_id: 'x1',
  backup_id: 'b1',
  vm_id: 'v1',
  vm_name: 'pgtest1',
  repository_id: 'r1',
  repository_path: '/srv/backups',
  chain_id: 'c1',
  points: [point],
  requested_at: 'now',
  heal: true,
};
const healing: HealingPrepared['data'] = { backup_id: 'b1', files: [], prepared_at: 'now' };
const running: KnownVerification = { status: 'running', request, boot: null, boot_verdict: null, healings: [], unhealed: [] };
const finding = (code: VerificationFinding['code'], file = 'vm/b1/disk-0.qcow2'): VerificationFinding => ({ code, backup_id: 'b1', file, detail: 'd' });

describe('what a verification heals', () => {
  it.each(['file_missing', 'file_truncated', 'file_altered', 'file_unreadable'] as const)('a file with %s', (code) =>
    expect(pointsToHeal([finding(code)], running)).toMatchObject([{ backup_id: 'b1', damaged: [{ file: 'disk-0.qcow2', part: 'file' }] }]),
  );
  it('only the list, if only the digests are damaged', () =>
    expect(pointsToHeal([finding('digests_damaged')], running)).toMatchObject([{ damaged: [{ file: 'disk-0.qcow2', part: 'list' }] }]));
  it('nothing, unless it was requested', () => {
    const { heal: _, ...plain } = request;
    expect(pointsToHeal([finding('file_altered')], { ...running, request: plain })).toEqual([]);
  });
  it('nothing that is as it was sealed', () => {
    expect(pointsToHeal([finding('image_damaged'), finding('parent_differs')], running)).toEqual([]);
    expect(pointsToHeal([], running)).toEqual([]);
  });
  it('nothing that was tried in vain, or three times', () => {
    expect(pointsToHeal([finding('file_altered')], { ...running, unhealed: ['b1'] })).toEqual([]);
    expect(pointsToHeal([finding('file_altered')], { ...running, healings: [healing, healing] })).toHaveLength(1);
    expect(pointsToHeal([finding('file_altered')], { ...running, healings: [healing, healing, healing] })).toEqual([]);
  });
});

describe('a place to heal from', () => {
  const toHeal = { ...point, damaged: [] };
  const place: Place = { repository_id: 'r2', folder: 'vm/b1', manifest_sha256: 'm1', files: [] };
  it('is another one with the same manifest or one of the same files', () => {
    const sameFile = { ...place, repository_id: 'r3', manifest_sha256: 'other', files: [{ sha256: 'aa' }] };
    expect(placesToHealFrom(toHeal, 'r1', [{ ...place, repository_id: 'r1' }, place, sameFile])).toEqual([place, sameFile]);
  });
  it('is not one with other files, such as a flattened copy', () =>
    expect(placesToHealFrom(toHeal, 'r1', [{ ...place, manifest_sha256: 'other', files: [{ sha256: 'bb' }] }])).toEqual([]));
});
