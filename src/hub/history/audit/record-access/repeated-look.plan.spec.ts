import { describe, expect, it } from '@jest/globals';
import type { AccessReader, AccessToRecord } from '../model/access.commands.js';
import { isLook, lookKey } from './repeated-look.plan.js';

const reader: AccessReader = { actor: 'alice', correlationId: 'c1', sourceAddress: '192.0.2.1' };
const access: AccessToRecord = {
  operation: 'list_files',
  backup_id: 'b1',
  vm_name: 'pgtest1',
  mount_id: 'm1',
  disk_index: 0,
  path: '/etc',
  resolved_path: null,
  options: { recursive: 'true', limit: '10' },
};

describe('a look', () => {
  it.each(['list_files', 'file_info'] as const)('is %s', (operation) => {
    expect(isLook(operation)).toBe(true);
  });

  it.each(['download', 'download_directory', 'download_disk', 'read_console', 'read_screenshot'] as const)('is not %s, which reads content', (operation) => {
    expect(isLook(operation)).toBe(false);
  });

  it('is the same in another call of the same reader, in whichever order its options are given', () => {
    expect(lookKey({ ...access, options: { limit: '10', recursive: 'true' } }, { ...reader, correlationId: 'c2' })).toBe(lookKey(access, reader));
  });

  it.each<Partial<AccessToRecord>>([
    { operation: 'file_info' },
    { backup_id: 'b2' },
    { mount_id: 'm2' },
    { disk_index: 1 },
    { path: '/etc/ssl' },
    { path: null },
    { resolved_path: '/usr/etc' },
    { options: { recursive: 'false', limit: '10' } },
    { options: {} },
  ])('is another one with %j', (other) => {
    expect(lookKey({ ...access, ...other }, reader)).not.toBe(lookKey(access, reader));
  });

  it.each([{ actor: 'mallory' }, { sourceAddress: '192.0.2.2' }, { sourceAddress: null }])('is another one of a reader with %j', (other) => {
    expect(lookKey(access, { ...reader, ...other })).not.toBe(lookKey(access, reader));
  });
});
