import { describe, expect, it } from '@jest/globals';
import { Slots } from './slots.js';

describe('Slots', () => {
  it('lets only so many in at once, in the order of asking, also past failures', async () => {
    const slots = new Slots(2);
    const begun: number[] = [];
    const doors = [0, 1, 2, 3].map(() => Promise.withResolvers<undefined>());
    const all = doors.map((door, index) =>
      slots.use(async () => {
        begun.push(index);
        await door.promise;
      }),
    );
    await Promise.resolve();
    expect(begun).toEqual([0, 1]);
    doors[1]?.reject(new Error('failed'));
    await expect(all[1]).rejects.toThrow('failed');
    expect(begun).toEqual([0, 1, 2]);
    doors.forEach((door) => door.resolve(undefined));
    await Promise.allSettled(all);
    expect(begun).toEqual([0, 1, 2, 3]);
    await expect(slots.use(() => Promise.resolve('free again'))).resolves.toBe('free again');
  });
});
