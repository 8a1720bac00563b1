import { describe, expect, it } from '@jest/globals';
import { Slots } from './slots.js';

describe('Slots', () => {
  it('runs only so many at once, in the order of the requests, even after failures', async () => {
    const slots = new Slots(() => 2);
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

  it('runs more once the limit has grown, and fewer once it has shrunk', async () => {
    let limit = 1;
    const slots = new Slots(() => limit);
    let atWork = 0;
    const doors = [0, 1, 2, 3].map(() => Promise.withResolvers<undefined>());
    const enter = (index: number): Promise<void> =>
      slots.use(async () => {
        atWork += 1;
        await doors[index]?.promise;
        atWork -= 1;
      });
    const all = [enter(0), enter(1)];
    await Promise.resolve();
    expect(atWork).toBe(1);
    limit = 3;
    slots.admit();
    await Promise.resolve();
    expect(atWork).toBe(2);
    all.push(enter(2));
    await Promise.resolve();
    expect(atWork).toBe(3);
    limit = 1;
    all.push(enter(3));
    doors[0]?.resolve(undefined);
    await all[0];
    expect(atWork).toBe(2);
    doors.forEach((door) => door.resolve(undefined));
    await Promise.all(all);
    expect(atWork).toBe(0);
  });
});
