import { describe, expect, it } from '@jest/globals';
import { mountDirectory, mountsDirectory } from './mount-directories.plan.js';

describe('the folder of a mount', () => {
  it('has the name of its id, in the folder of all mounts', () => {
    expect(mountsDirectory('/run/sendense')).toBe('/run/sendense/mounts');
    expect(mountDirectory('/run/sendense', 'm1')).toBe('/run/sendense/mounts/m1');
  });
});
