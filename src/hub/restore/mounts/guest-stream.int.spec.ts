import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { GuestStream } from './guest-stream.js';

const STALL_MS = 60_000;

function collecting(): { readonly sink: Writable; readonly bytes: () => number } {
  let bytes = 0;
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      done();
    },
  });
  return { sink, bytes: () => bytes };
}

describe('a stream of a guest', () => {
  it.each([1, 1_000, 60_000])('loses none of its %i bytes when its process ends before they are read', async (length) => {
    const child = spawn(process.execPath, ['-e', `process.stdout.write('x'.repeat(${length}))`], { stdio: ['ignore', 'pipe', 'pipe'] });
    const exited = once(child, 'exit');
    const stream = new GuestStream(child, STALL_MS);
    await stream.begun();
    await exited;
    // Node drains a child's output one event loop turn after its exit.
    for (let turn = 0; turn < 5; turn++) await nextTurn();
    const { sink, bytes } = collecting();
    expect(await stream.sendTo(sink)).toBeNull();
    expect([bytes(), stream.sentBytes]).toEqual([length, length]);
  });
});
