import { describe, expect, it } from '@jest/globals';
import { mayMountFuse, showScript } from './guestfs-mount.driver.js';

function status(effective: string, noNewPrivileges: '0' | '1'): string {
  return `Name:\tnode\nCapInh:\t0000000000200000\nCapPrm:\t${effective}\nCapEff:\t${effective}\nNoNewPrivs:\t${noNewPrivileges}\nSeccomp:\t2\n`;
}

describe('whether an unprivileged process may mount with FUSE', () => {
  it.each([
    ['with the required capability', status('0000000000200000', '1'), true],
    ['with every capability', status('000001ffffffffff', '1'), true],
    ['through fusermount3', status('0000000000000000', '0'), true],
    ['with other capabilities only and without new privileges for fusermount3', status('00000000000000cb', '1'), false],
    ['with an empty status', '', false],
  ])('%s', (_, text, may) => {
    expect(mayMountFuse(text)).toBe(may);
  });
});

describe('the mount script of the sandbox', () => {
  it('mounts one volume, read-only and without its journal, at a path with any characters', () => {
    expect(showScript('/dev/vg0/root', 'ext4', '/srv/my "data"/fs').split('\n')).toEqual([
      'mount-options ro,noload /dev/vg0/root /',
      String.raw`mount-local "/srv/my \"data\"/fs" readonly:true options:ro,nosuid,nodev,noexec`,
      'mount-local-run',
      '',
    ]);
  });

  it.each(['/dev/vg0/a | touch /tmp/owned', '/dev/sda1\n!touch /tmp/owned', '/dev/vg0/"x"', ''])(
    'refuses the volume name %j, which a disk could have',
    (device) => {
      expect(() => showScript(device, 'ext4', '/srv/fs')).toThrow(expect.objectContaining({ code: 'filesystem_unsupported' }));
    },
  );
});
