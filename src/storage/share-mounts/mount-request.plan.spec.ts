import { describe, expect, it } from '@jest/globals';
import { parseMountRequest } from './mount-request.plan.js';

const NAME = '0199a3c0-2b40-7d10-b1de-64f0a52c9e02';
const nfs = { type: 'nfs', server: 'nas', export: '/backups', options: ['hard'] };
const cifs = { type: 'cifs', server: 'nas', share: 'backups', options: [], credentials: null };

describe('a request to the mount helper', () => {
  it.each([{ do: 'status' }, { do: 'unmount', name: NAME }, { do: 'mount', name: NAME, share: nfs }, { do: 'mount', name: NAME, share: cifs }])(
    'is accepted: %j',
    (request) => expect(parseMountRequest(request)).toEqual(request),
  );

  it('keeps nothing that it does not know', () => {
    expect(parseMountRequest({ do: 'mount', name: NAME, share: { ...nfs, path: '/etc' }, target: '/etc' })).toEqual({ do: 'mount', name: NAME, share: nfs });
  });

  it.each([
    null,
    'mount',
    { do: 'remount', name: NAME },
    { do: 'unmount', name: '..' },
    { do: 'unmount', name: '/etc' },
    { do: 'unmount', name: `${NAME}/..` },
    { do: 'mount', name: NAME },
    { do: 'mount', name: NAME, share: { ...nfs, type: 'tmpfs' } },
    { do: 'mount', name: NAME, share: { ...nfs, options: ['exec'] } },
    { do: 'mount', name: NAME, share: { ...nfs, options: 'hard' } },
    { do: 'mount', name: NAME, share: { ...nfs, export: '/a,suid' } },
    { do: 'mount', name: NAME, share: { ...cifs, credentials: '../shadow' } },
  ])('is refused: %j', (request) => expect(() => parseMountRequest(request)).toThrow());
});
