import { describe, expect, it } from '@jest/globals';
import { changedCopyArgv, fullCopy, fullCopyArgv, networkCopy, rateText } from './transfer.plan.js';

const tuning = { connections: 4, requests: 64, requestSize: 262_144 };

describe('argv of a copy', () => {
  it('of a full skips holes and zeroes, because the target is a new file', () => {
    expect(fullCopyArgv('nbd+unix:///?socket=%2Frun%2Fs.sock', 'nbd://127.0.0.1:10100/e', tuning, null)).toEqual([
      'nbdcopy',
      '--progress=3',
      '--destination-is-zero',
      '--connections=4',
      '--requests=64',
      '--request-size=262144',
      '--',
      'nbd+unix:///?socket=%2Frun%2Fs.sock',
      'nbd://127.0.0.1:10100/e',
    ]);
  });

  it('of a full reads an image of this machine without a server, unless it has a rate limit', () => {
    const source = { uri: 'nbd+unix:///?socket=s', opened: { path: '/vms/a b/disk.raw', format: 'raw' as const, isDevice: false, backing: null } };
    expect(fullCopy(source, 'nbd://127.0.0.1:10100/e', tuning)).toEqual({
      argv: [
        ...['qemu-img', 'convert', '-p', '-n', '--target-is-zero', '-m', '16', '-S', '64k', '-O', 'raw'],
        ...['json:{"driver":"raw","file":{"driver":"file","filename":"/vms/a b/disk.raw"}}', 'nbd://127.0.0.1:10100/e'],
      ],
      progress: 'stdout',
      readsImage: true,
    });
    const overNbd = { argv: fullCopyArgv(source.uri, 'nbd://h:1/e', tuning), progress: 'fd3' };
    expect(fullCopy({ ...source, opened: null }, 'nbd://h:1/e', tuning)).toEqual(overNbd);
  });

  it('of an incremental writes exactly the listed extents, including changed blocks that became zero, and stops nbdkit when it dies', () => {
    expect(changedCopyArgv('nbd+unix:///?socket=s', '/data/jobs/a b/disk-0.extents', 'nbd://h:1/e', tuning)).toEqual([
      'nbdcopy',
      '--progress=3',
      '--destination-is-zero',
      '--connections=4',
      '--requests=64',
      '--request-size=65536',
      '--sparse=0',
      '--',
      '[',
      'nbdkit',
      '--exit-with-parent',
      '-r',
      '--filter=extentlist',
      'nbd',
      'uri=nbd+unix:///?socket=s',
      'extentlist=/data/jobs/a b/disk-0.extents',
      ']',
      'nbd://h:1/e',
    ]);
  });

  it('at a low rate reports each request, and at a high one keeps its threads', () => {
    const at = (bytesPerSecond: number): readonly string[] => fullCopyArgv('nbd+unix:///?socket=s', 'nbd://h:1/e', tuning, { bytesPerSecond, file: '/rate' });
    expect(at(8_000_000)).toContain('--synchronous');
    expect(changedCopyArgv('nbd+unix:///?socket=s', '/list', 'nbd://h:1/e', tuning, { bytesPerSecond: 8_000_000, file: '/rate' })).toContain('--synchronous');
    expect(at(500_000_000)).not.toContain('--synchronous');
  });

  describe('across a network', () => {
    const ride = { program: ['/node', '/main.copy.js'], patienceSeconds: 240 } as const;

    it("uses the node's own program", () => {
      expect(networkCopy('nbd+unix:///?socket=s', { file: '/list', digestFile: '/digest', onto: 'parent' }, 'nbd://h:1/e', ride, null)).toEqual({
        argv: [
          ...['/node', '/main.copy.js', '--progress=3', '--source=nbd+unix:///?socket=s', '--target=nbd://h:1/e', '--extents=/list', '--onto=parent'],
          ...['--digest=/digest', '--connections=8', '--memory-bytes=33554432', '--patience-seconds=240'],
        ],
        progress: 'fd3',
      });
    });

    it('is limited by a file, which holds the rate from the beginning', () => {
      const { argv } = networkCopy('nbd+unix:///?socket=s', { file: '/list', digestFile: '/digest', onto: 'new' }, 'nbd://h:1/e', ride, {
        bytesPerSecond: 1_000,
        file: '/rate',
      });
      expect(argv.slice(-1)).toEqual(['--rate-file=/rate']);
      expect(rateText(1_000)).toBe('8000\n');
    });
  });
});
