import { describe, expect, it } from '@jest/globals';
import { requestedLocation, type LocationRequest } from './requested-location.plan.js';

const nfs = { type: 'nfs', server: 'nas', export: '/backups' } as const;
const cifs = { type: 'cifs', server: 'nas', share: 'backups' } as const;

describe('the location of a repository', () => {
  it('is a folder or a share, with defaults', () => {
    expect(requestedLocation({ type: 'local', path: '/srv' })).toEqual({ type: 'local', path: '/srv', require_mount: false });
    expect(requestedLocation({ ...nfs, options: ['soft'] })).toEqual({ ...nfs, options: ['soft'] });
    expect(requestedLocation(cifs)).toEqual({ ...cifs, options: [], credentials: null });
  });

  it.each<[LocationRequest, string]>([
    [{ type: 'local' }, 'path'],
    [{ type: 'nfs', server: 'nas' }, 'export'],
    [{ type: 'cifs', share: 'backups' }, 'server'],
    [{ ...nfs, path: '/srv' }, 'path'],
    [{ ...nfs, credentials: 'nas' }, 'credentials'],
    [{ type: 'local', path: '/srv', server: 'nas' }, 'server'],
    [{ ...nfs, options: ['exec'] }, 'options'],
    [{ ...cifs, credentials: '/etc/shadow' }, 'credentials'],
  ])('is refused: %j for its %s', (request, field) => {
    expect(() => requestedLocation(request)).toThrow(expect.objectContaining({ code: 'repository_location_invalid', facts: { field } }));
  });
});
