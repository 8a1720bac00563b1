import { describe, expect, it } from '@jest/globals';
import { exposesKernel } from '../../hub.config.js';
import { allowedDrivers } from './choose-drivers.plan.js';

describe('the drivers that may mount', () => {
  it('are the sandbox unless another one is named', () => {
    expect(allowedDrivers('auto')).toEqual(['guestfs']);
    expect((['guestfs', 'fuse', 'nbd'] as const).map(allowedDrivers)).toEqual([['guestfs'], ['fuse'], ['nbd']]);
  });

  it('never show the kernel what a guest wrote unless they were named', () => {
    expect((['auto', 'guestfs', 'fuse', 'nbd'] as const).map(exposesKernel)).toEqual([false, false, true, true]);
  });
});
