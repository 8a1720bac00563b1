import { describe, expect, it } from '@jest/globals';
import { isLockedByQemu } from './image-locks.plan.js';

describe('an image', () => {
  const file = { device: 0xfe00n, inode: 1168n };
  const locked = (...lines: readonly string[]): boolean => isLockedByQemu(lines.map((line) => `${line}\n`).join(''), file);

  it.each([
    ['may be written to by a qemu', '1: OFDLCK ADVISORY  READ -1 fe:00:1168 100 101'],
    ['may be resized by a qemu', '1: OFDLCK ADVISORY  READ -1 fe:00:1168 103 103'],
    ['may be read by nobody else', '1: OFDLCK ADVISORY  READ -1 fe:00:1168 200 203'],
    ['is locked whole', '1: POSIX  ADVISORY  WRITE 4711 fe:00:1168 0 EOF'],
  ])('is locked when it %s', (_what, line) => {
    expect(locked('1: FLOCK  ADVISORY  WRITE 812 fe:00:77 0 EOF', line)).toBe(true);
  });

  it.each([
    ['nothing has it open', ''],
    ['a qemu reads it, and lets nobody write', '1: OFDLCK ADVISORY  READ -1 fe:00:1168 100 100'],
    ['a reader has taken these bytes', '1: OFDLCK ADVISORY  READ -1 fe:00:1168 201 201'],
    ['a qemu waits for the lock', '1: -> OFDLCK ADVISORY  READ -1 fe:00:1168 100 101'],
    ['another file is locked', '1: OFDLCK ADVISORY  READ -1 fe:00:11680 100 101'],
    ['a file of another device is locked', '1: OFDLCK ADVISORY  READ -1 fe:01:1168 100 101'],
    ['another kind of lock is held', '1: LEASE  ACTIVE    READ 4711 fe:00:1168 0 EOF'],
  ])('is not locked when %s', (_what, line) => {
    expect(locked(line)).toBe(false);
  });
});
