import { describe, expect, it } from '@jest/globals';
import { type NodeJobDisk, NodeJobReport, NodeStartBackup } from './backup-job.js';
import { NodeBootCheckArtefacts } from './boot-check.js';
import { NodeHealth } from './health.js';
import { NodeKeysInUse, NodePreparedKeys } from './keys.js';
import { InvalidMessageError, type MessageClass, parseMessage } from './parse-message.js';
import { NodeTunnelReport } from './tunnel.js';
import { type NodeDisk, type NodeVm, NodeVmList } from './vm-list.js';

const DISK: NodeDisk = {
  disk_id: 0,
  disk_key: 'a',
  size_bytes: 1024,
  format: 'raw',
  path: '/a',
  change_tracking: false,
  change_ids: ['x'],
  broken_change_ids: [],
  problem: null,
};
const VM: NodeVm = { name: 'pg', source: 'image', source_ref: '/pg', disks: [DISK] };
const JOB_DISK: NodeJobDisk = { disk_key: 'a', status: 'running', bytes_transferred: 1, total_bytes: 2, change_id: null, error: null };
const REPORT: NodeJobReport = {
  job_id: 'job-1',
  status: 'running',
  current_phase: 'transfer',
  instant: null,
  snapshot_released: false,
  bytes_transferred: 1,
  total_bytes: 2,
  transfer_speed_bps: 1.5,
  eta_seconds: null,
  progress_percent: 50,
  disks: [JOB_DISK],
  error: null,
  sequence: 3,
  timestamp: '2026-11-21T10:15:01.000Z',
};
const HEALTH: NodeHealth = { status: 'ok', node_id: 'n', version: '1', time: '2026-11-21T10:15:01.000Z', active_jobs: 0 };

/** What is wrong, as `<field>: <rule>: <message>`. */
function refusalOf(type: MessageClass<object>, json: unknown): string {
  try {
    parseMessage(type, json);
  } catch (error) {
    if (error instanceof InvalidMessageError) return `${error.field}: ${error.rule}: ${error.message}`;
    throw error;
  }
  throw new Error('it was accepted');
}

describe('a message', () => {
  it('of an older peer may lack optional members, and has none of them then', () => {
    expect(parseMessage(NodeHealth, HEALTH)).toStrictEqual(HEALTH);
    expect(parseMessage(NodeVmList, { vms: [VM] })).toStrictEqual({ vms: [VM] });
    expect(parseMessage(NodeJobReport, REPORT)).toStrictEqual(REPORT);
  });

  it('of a newer peer loses the members that are not declared, at every level', () => {
    const mood = 'good';
    const problem = { code: 'disk_in_use', detail: '' };
    const list = { mood, vms: [{ ...VM, mood, disks: [{ ...DISK, mood, problem: { ...problem, mood } }] }] };
    expect(parseMessage(NodeVmList, list)).toStrictEqual({ vms: [{ ...VM, disks: [{ ...DISK, problem }] }] });
  });

  it('does not change the prototype of what is read', () => {
    const parsed = parseMessage(NodeHealth, JSON.parse(`{"__proto__": {"findings": "x"}, ${JSON.stringify(HEALTH).slice(1)}`));
    expect(parsed).toStrictEqual(HEALTH);
  });

  it('arrives with instants in UTC, and ids in lower case', () => {
    const report = parseMessage(NodeJobReport, { ...REPORT, instant: '2026-11-21T11:15:00+01:00' });
    expect(report.instant).toBe('2026-11-21T10:15:00.000Z');
    const id = '0199A3C0-0001-7000-8000-00000000000B';
    expect(parseMessage(NodeKeysInUse, { rotation_id: id })).toStrictEqual({ rotation_id: id.toLowerCase() });
  });

  it.each([
    ['null', NodeHealth, null, ': is_object: the message must be an object'],
    ['a list', NodeHealth, [HEALTH], ': is_object: the message must be an object'],
    ['a missing member', NodeHealth, { ...HEALTH, version: undefined }, 'version: is_missing: version is missing'],
    ['null for an optional member', NodeHealth, { ...HEALTH, findings: null }, 'findings: '],
    ['a missing nullable member', NodeJobReport, { ...REPORT, error: undefined }, 'error: is_missing: error is missing'],
    ['an instant that does not exist', NodeHealth, { ...HEALTH, time: '2026-02-30T00:00:00Z' }, 'time: is_instant: time must be an RFC 3339 date and time'],
    [
      'a number beyond the whole ones',
      NodeHealth,
      { ...HEALTH, active_jobs: 1e300 },
      'active_jobs: max: active_jobs must not be greater than 9007199254740991',
    ],
    ['an object for a list', NodeVmList, { vms: { ...VM } }, 'vms: is_array: vms must be an array'],
    ['a list for an object', NodeJobReport, { ...REPORT, error: [] }, 'error: is_object: error must be an object'],
    ['a list in a list', NodeVmList, { vms: [[VM]] }, 'vms: is_object: '],
    ['a wrong member of a nested object', NodeVmList, { vms: [VM, { ...VM, disks: [{ ...DISK, size_bytes: -1 }] }] }, 'vms.1.disks.0.size_bytes: min: '],
    ['a wrong text in a list', NodeVmList, { vms: [{ ...VM, disks: [{ ...DISK, change_ids: ['x', ''] }] }] }, 'vms.0.disks.0.change_ids: is_not_empty: '],
    [
      'disks in another order',
      NodeVmList,
      { vms: [{ ...VM, disks: [{ ...DISK, disk_id: 1 }] }] },
      'vms.0.disks: numbered_by: vms.0.disks must have objects whose disk_id',
    ],
    [
      'a disk twice',
      NodeVmList,
      { vms: [{ ...VM, disks: [DISK, { ...DISK, disk_id: 1 }] }] },
      'vms.0.disks: array_unique: vms.0.disks must not contain the same disk_key',
    ],
    [
      'a member of a base class',
      NodeVmList,
      { vms: [{ ...VM, source: 'tape' }] },
      'vms.0.source: is_in: vms.0.source must be one of the following values: image, libvirt',
    ],
    ['a hub id of another form', NodeStartBackup, { job_id: 'j', hub_id: '..' }, 'hub_id: matches: hub_id must be 8 to 64 letters'],
    ['a number for base64', NodeBootCheckArtefacts, { console_base64: 1 }, 'console_base64: '],
  ])('is refused for %s, by field and rule', (_, type, json, refusal) => {
    expect(refusalOf(type, json)).toContain(refusal);
  });

  it('is refused beyond the limits of its lists and texts', () => {
    expect(refusalOf(NodeJobReport, { ...REPORT, disks: Array.from({ length: 257 }, () => JOB_DISK) })).toContain('disks: array_max_size: ');
    expect(refusalOf(NodeJobReport, { ...REPORT, disks: [] })).toContain('disks: array_min_size: ');
    expect(refusalOf(NodeJobReport, { ...REPORT, error: { code: 'x', detail: 'x'.repeat(16_385) } })).toContain('error.detail: max_length: ');
    expect(refusalOf(NodeTunnelReport, { journal_id: 'j', transitions: Array.from({ length: 501 }, () => null) })).toContain('transitions: ');
  });

  it('is refused without showing a secret', () => {
    const keys = { rotation_id: 'r', public_key: `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI${'A'.repeat(43)}`, token: 'secret token' };
    expect(refusalOf(NodePreparedKeys, keys)).toBe('token: matches: token must be a token');
  });
});
