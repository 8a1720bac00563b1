import { describe, expect, it } from '@jest/globals';
import { nbdUri } from '../nbd/nbd-uri.js';
import { keyArguments, nbdSource } from './nbd-source.plan.js';

const sourceOf = (uri: string, patience: number): unknown => JSON.parse(nbdSource(uri, patience).replace(/^json:/, ''));

describe('an NBD export as a source of the tools of qemu', () => {
  it('is reached at a port, with patience in seconds for its connection and its loss', () => {
    expect(nbdSource('nbd://127.0.0.1:10100/disk0', 60)).toBe(
      'json:{"driver":"raw","file":{"driver":"nbd","server":{"type":"inet","host":"127.0.0.1","port":"10100"},"export":"disk0","reconnect-delay":60,"open-timeout":60}}',
    );
  });

  it('is reached at a socket', () => {
    expect(sourceOf(nbdUri({ socket: '/run/a b/nbd.sock' }, 'disk 0'), 0)).toEqual({
      driver: 'raw',
      file: { driver: 'nbd', server: { type: 'unix', path: '/run/a b/nbd.sock' }, export: 'disk 0', 'reconnect-delay': 0, 'open-timeout': 0 },
    });
  });

  it('is reached by TLS where it has a key, and only there', () => {
    const uri = nbdUri({ host: '::1', port: 10100, keyFile: '/run/a,b/keys.psk' }, 'disk0');
    expect(sourceOf(uri, 5)).toMatchObject({ file: { server: { type: 'inet', host: '::1', port: '10100' }, 'tls-creds': 'key' } });
    expect(sourceOf('nbd://127.0.0.1:10100/disk0', 5)).not.toHaveProperty('file.tls-creds');
  });
});

describe('the key of an export', () => {
  it('is given as the folder of its file, in which a comma is written twice', () => {
    expect(keyArguments(nbdUri({ host: 'hub', port: 10100, keyFile: '/run/a,b/keys.psk' }, 'disk0'))).toEqual([
      '--object',
      'tls-creds-psk,id=key,endpoint=client,username=sendense,dir=/run/a,,b',
    ]);
  });

  it('is not given where there is none', () => {
    expect(keyArguments('nbd://hub:10100/disk0')).toEqual([]);
  });
});
