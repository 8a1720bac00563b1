import { describe, expect, it } from '@jest/globals';
import type { MountRequested } from '../model/restore-mount.events.js';
import { decideRequestMount, type RequestMountAt } from './request-mount.decide.js';

const request: MountRequested['data'] = {
  mount_id: 'm1',
  backup_id: 'b1',
  vm_id: 'v1',
  vm_name: 'vm',
  repository_id: 'r1',
  disk_index: 0,
  file: '/r/disk-0.qcow2',
  partition: null,
  idle_limit_seconds: 3600,
  requested_at: '2026-11-21T10:00:00.000Z',
};

function command(slots: number, ...active: RequestMountAt['active']): RequestMountAt {
  return { request, slots, active };
}

describe('a mount is requested', () => {
  it('when a slot is free, also next to other disks and restore points', () => {
    const others = [
      { mount_id: 'm2', backup_id: 'b1', disk_index: 1 },
      { mount_id: 'm3', backup_id: 'b2', disk_index: 0 },
    ];
    expect(decideRequestMount(command(3, ...others), { status: 'none' })).toEqual([{ type: 'MountRequested', data: request }]);
  });

  it('once per command', () => {
    expect(decideRequestMount(command(1), { status: 'requested', request })).toEqual([]);
  });

  it('not for a mounted disk, and the refusal names its mount', () => {
    expect(() => decideRequestMount(command(8, { mount_id: 'm2', backup_id: 'b1', disk_index: 0 }), { status: 'none' })).toThrow(
      expect.objectContaining({ kind: 'conflict', code: 'disk_already_mounted', facts: { backup_id: 'b1', disk_index: 0, mount_id: 'm2' } }),
    );
  });

  it('not when all slots are in use', () => {
    expect(() => decideRequestMount(command(1, { mount_id: 'm2', backup_id: 'b2', disk_index: 0 }), { status: 'none' })).toThrow(
      expect.objectContaining({ kind: 'unavailable', code: 'mount_slots_exhausted' }),
    );
  });
});
