import { describe, expect, it } from '@jest/globals';
import { pathRefusal } from './repository-path.plan.js';

describe('the path of a repository', () => {
  it.each([
    ['absolute_path', 'repository_path_invalid'],
    ['mounted', 'repository_not_mounted'],
    ['exists', 'repository_path_missing'],
    ['directory', 'repository_path_not_a_directory'],
    ['separate', 'repository_overlaps'],
    ['unused', 'repository_already_used'],
    ['writable', 'repository_not_writable'],
  ] as const)('that fails the check "%s" is refused with %s', (name, code) => {
    expect(pathRefusal({ name, ok: false, detail: 'What was found.' }, '/srv/backups', null)).toMatchObject({ code });
  });
});
