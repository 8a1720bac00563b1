import { describe, expect, it } from '@jest/globals';
import { endedAsTold, reachableHost, startFailureCode } from './export-end.plan.js';

describe('the end of a server', () => {
  it.each([
    [127, 'sh: qemu-nbd: not found', 'tool_missing'],
    [126, 'sh: qemu-nbd: Permission denied', 'tool_missing'],
    [1, 'qemu-nbd: Failed to find an available port: Address already in use', 'port_in_use'],
    [1, "qemu-nbd: Could not open 'x': No such file or directory", 'exited_early'],
    [null, '', 'exited_early'],
  ])('with code %j and %j before the first handshake is %s', (exitCode, stderr, code) => {
    expect(startFailureCode({ exitCode, stderr, stopRequested: false })).toBe(code);
  });

  it.each([
    [0, true, true],
    [143, true, true],
    [null, true, true],
    [137, true, false],
    [1, true, false],
    [0, false, false],
  ])('with code %j (stop requested: %j) was a clean stop: %j', (exitCode, stopRequested, asTold) => {
    expect(endedAsTold({ exitCode, stderr: '', stopRequested })).toBe(asTold);
  });
});

describe('a server on all interfaces', () => {
  it('is reached through loopback', () => {
    expect(['0.0.0.0', '::', '192.0.2.7'].map(reachableHost)).toEqual(['127.0.0.1', '::1', '192.0.2.7']);
  });
});
