import { describe, expect, it } from '@jest/globals';
import { exposesKernel } from '../../hub.config.js';
import { allowedDrivers } from './choose-drivers.plan.js';

describe('the allowed mount drivers', () => {
  it('are the sandbox unless the configuration names another', () => {
    expect(allowedDrivers('auto')).toEqual(['guestfs']);
    expect((['guestfs', 'fuse', 'nbd'] as const).map(allowedDrivers)).toEqual([['guestfs'], ['fuse'], ['nbd']]);
  });

  it('never expose guest data to the kernel unless the configuration names them', () => {
    expect((['auto', 'guestfs', 'fuse', 'nbd'] as const).map(exposesKernel)).toEqual([false, false, true, true]);
  });
});
