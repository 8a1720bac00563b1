import { describe, expect, it } from '@jest/globals';
import { changedCopyArgv, fullCopy, fullCopyArgv, networkCopy } from './transfer.plan.js';

const tuning = { connections: 4, requests: 64, requestSize: 262_144, targetsAreLocal: true };

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

  it('of a full reads an image of this machine without a server, but not across a network, where one connection is too few', () => {
    const source = { uri: 'nbd+unix:///?socket=s', image: { path: '/vms/a b/disk.raw', format: 'raw' as const } };
    expect(fullCopy(source, 'nbd://127.0.0.1:10100/e', tuning)).toEqual({
      argv: [
        ...['qemu-img', 'convert', '-p', '-n', '--target-is-zero', '-m', '16', '-S', '64k', '-f', 'raw', '-O', 'raw'],
        ...['/vms/a b/disk.raw', 'nbd://127.0.0.1:10100/e'],
      ],
      progress: 'stdout',
    });
    const overNbd = { argv: fullCopyArgv(source.uri, 'nbd://h:1/e', tuning), progress: 'fd3' };
    expect(fullCopy(source, 'nbd://h:1/e', { ...tuning, targetsAreLocal: false })).toEqual(overNbd);
    expect(fullCopy({ ...source, image: null }, 'nbd://h:1/e', tuning)).toEqual(overNbd);
  });

  it('of an incremental writes what the list names and no more, changed blocks that became zero too, and takes nbdkit with it when it dies', () => {
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

  describe('across a network', () => {
    const ride = { script: '/with-server.sh', sockets: '/run/s', patienceSeconds: 240 };
    const target = [
      ...['bash', '/with-server.sh', '/run/s/target.pid', '16', 'nbdkit', '--foreground', '--exit-with-parent', '--unix', '/run/s/target.sock'],
      ...['--pidfile', '/run/s/target.pid', '--filter=retry', '--filter=log', 'nbd', 'uri=nbd://h:1/e', 'retry=30', 'retries=8', 'retry-delay=1'],
      ...['retry-exponential=no', 'logfile=/dev/fd/9'],
    ];

    it('tries each request again for as long as it may, over many connections', () => {
      const { argv, progress } = networkCopy('nbd+unix:///?socket=s', null, 'nbd://h:1/e', tuning, ride, null);
      expect(progress).toBe('fd3');
      expect(argv).toEqual([
        ...target,
        ...['nbdcopy', '--progress=3', '--destination-is-zero', '--connections=16', '--requests=64', '--request-size=4194304'],
        ...['--threads=16', '--queue-size=4194304', '--', 'nbd+unix:///?socket=s', 'nbd+unix:///?socket=%2Frun%2Fs%2Ftarget.sock'],
      ]);
      // The number of the server's words is right.
      expect(argv[4 + Number(argv[3])]).toBe('nbdcopy');
    });

    it('of an incremental has a server for its source too, since nbdcopy makes one connection only to a server of its own', () => {
      const { argv } = networkCopy('nbd+unix:///?socket=s', '/list', 'nbd://h:1/e', tuning, ride, null);
      const rest = argv.slice(target.length);
      expect(argv.slice(0, target.length)).toEqual(target);
      expect(rest.slice(0, 4 + Number(rest[3])).slice(-5)).toEqual(['-r', '--filter=extentlist', 'nbd', 'uri=nbd+unix:///?socket=s', 'extentlist=/list']);
      expect(rest.slice(4 + Number(rest[3]))).toEqual([
        ...['nbdcopy', '--progress=3', '--destination-is-zero', '--connections=16', '--requests=64', '--request-size=65536'],
        ...['--threads=16', '--queue-size=4194304', '--sparse=0', '--'],
        ...['nbd+unix:///?socket=%2Frun%2Fs%2Fsource.sock', 'nbd+unix:///?socket=%2Frun%2Fs%2Ftarget.sock'],
      ]);
    });

    it('is held to its rate at the target, for all connections together', () => {
      const { argv } = networkCopy('nbd+unix:///?socket=s', null, 'nbd://h:1/e', tuning, ride, { bytesPerSecond: 1_000, file: '/rate' });
      expect(argv).toEqual(expect.arrayContaining(['--filter=rate', 'rate=8000', 'rate-file=/rate']));
    });
  });
});
