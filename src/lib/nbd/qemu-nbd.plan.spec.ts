import { describe, expect, it } from '@jest/globals';
import { imageName } from '../qemu/image-graph.plan.js';
import { sourceServerArgv, targetServerArgv } from './qemu-nbd.plan.js';

describe('argv of qemu-nbd', () => {
  const target = {
    file: '/repo/a b: c,d/disk-0.qcow2',
    readOnly: false,
    listen: { host: '127.0.0.1', port: 10100, keyDirectory: '/run/a,b' },
    exportName: 'backup-vm-disk0-full-20261121T100000Z',
    sharedLimit: 10,
    cache: 'unsafe',
  } as const;

  it('serves a target persistently to several clients', () => {
    expect(targetServerArgv(target)).toEqual([
      'qemu-nbd',
      '--persistent',
      '--shared=10',
      '--format=qcow2',
      '--cache=unsafe',
      '--discard=unmap',
      '--bind=127.0.0.1',
      '--port=10100',
      '--object=tls-creds-psk,id=key,endpoint=server,dir=/run/a,,b',
      '--tls-creds=key',
      '--export-name=backup-vm-disk0-full-20261121T100000Z',
      '--',
      '/repo/a b: c,d/disk-0.qcow2',
    ]);
  });

  it('opens a read-only file without any write options', () => {
    expect(targetServerArgv({ ...target, readOnly: true })).toEqual([
      'qemu-nbd',
      '--persistent',
      '--shared=10',
      '--format=qcow2',
      '--read-only',
      '--bind=127.0.0.1',
      '--port=10100',
      '--object=tls-creds-psk,id=key,endpoint=server,dir=/run/a,,b',
      '--tls-creds=key',
      '--export-name=backup-vm-disk0-full-20261121T100000Z',
      '--',
      '/repo/a b: c,d/disk-0.qcow2',
    ]);
  });

  it('serves a program of the same account on a Unix socket', () => {
    expect(targetServerArgv({ ...target, listen: { socket: '/run/x/nbd.sock' } })).toEqual([
      'qemu-nbd',
      '--persistent',
      '--shared=10',
      '--format=qcow2',
      '--cache=unsafe',
      '--discard=unmap',
      '--socket=/run/x/nbd.sock',
      '--export-name=backup-vm-disk0-full-20261121T100000Z',
      '--',
      '/repo/a b: c,d/disk-0.qcow2',
    ]);
  });

  it('serves a source read-only with its bitmap', () => {
    const image = { path: '/vms/x/disk0.qcow2', format: 'qcow2', isDevice: false, backing: null } as const;
    expect(sourceServerArgv({ image, socket: '/run/x/0.sock', sharedLimit: 8, bitmap: 'sendense-1' })).toEqual([
      'qemu-nbd',
      '--persistent',
      '--shared=8',
      '--read-only',
      '--bitmap=sendense-1',
      '--socket=/run/x/0.sock',
      '--',
      imageName(image),
    ]);
  });

  it('serves a raw source without a bitmap', () => {
    const image = { path: '/vms/x/d.raw', format: 'raw', isDevice: false, backing: null } as const;
    expect(sourceServerArgv({ image, socket: '/run/x/0.sock', sharedLimit: 8, bitmap: null })).toEqual([
      'qemu-nbd',
      '--persistent',
      '--shared=8',
      '--read-only',
      '--socket=/run/x/0.sock',
      '--',
      imageName(image),
    ]);
  });
});
