import { setTimeout as pause } from 'node:timers/promises';
import { beforeEach, describe, expect, it, jest } from '@jest/globals';
import { type CopyEnds, CopyFailedError, type CopyOptions, NetworkCopy, type TargetConnection } from './network-copy.js';
import type { TargetWrite } from './network-copy.plan.js';

jest.setTimeout(60_000);
const KIB = 1024;
const DISK = 8 * 1024 * KIB;
const options: CopyOptions = {
  extents: [{ offset: 0, length: DISK }],
  zeroes: 'skip',
  connections: 4,
  requestBytes: 64 * KIB,
  memoryBytes: 1024 * KIB,
  patienceMs: 60_000,
  silenceMs: 20,
  attemptMs: 1_000,
};

const disk = Buffer.alloc(DISK);
for (let offset = 0; offset < DISK; offset += 4) disk.writeUInt32BE(offset + 1, offset);

class Answer extends Error {}
class Lost extends Error {}

/** A target in memory with scripted connections. */
class Target implements CopyEnds {
  readonly content = Buffer.alloc(DISK);
  readonly connections: FakeConnection[] = [];
  readonly answered: number[] = [];
  readonly read: number[] = [];
  readBytes = 0;
  mostHeld = 0;
  progress = 0;
  behave: (connection: FakeConnection, offset: number) => 'answer' | 'hold' | 'break' | Error = () => 'answer';
  reachable: () => boolean = () => true;

  readSource(offset: number, into: Buffer): Promise<void> {
    disk.copy(into, 0, offset, offset + into.length);
    this.readBytes += into.length;
    this.mostHeld = Math.max(this.mostHeld, this.readBytes - this.progress);
    return Promise.resolve();
  }
  openTarget(): Promise<TargetConnection> {
    if (!this.reachable()) return Promise.reject(new Error('connect ECONNREFUSED'));
    const connection = new FakeConnection(this, this.connections.length);
    this.connections.push(connection);
    return Promise.resolve(connection);
  }
  isAnswer(error: unknown): boolean {
    return error instanceof Answer;
  }
  rate(): number | null {
    return null;
  }
  onRead(writes: readonly TargetWrite[]): void {
    for (const { offset } of writes) this.read.push(offset);
  }
  onProgress(bytes: number): void {
    this.progress = bytes;
  }
}

class FakeConnection implements TargetConnection {
  heardAtMs = performance.now();
  destroyed = false;
  private readonly end = Promise.withResolvers<Error>();
  readonly ended = this.end.promise;
  readonly held: (() => void)[] = [];
  private readonly rejects: (() => void)[] = [];

  constructor(
    private readonly target: Target,
    readonly number: number,
  ) {}

  async write(offset: number, bytes: Buffer): Promise<void> {
    const behaviour = this.target.behave(this, offset);
    if (behaviour instanceof Error) throw behaviour;
    if (behaviour === 'break') this.destroy();
    if (this.destroyed) throw new Lost('lost');
    if (behaviour === 'hold') {
      await new Promise<void>((resolve, reject) => {
        this.held.push(resolve);
        this.rejects.push(() => reject(new Lost('lost')));
      });
    } else await pause(1);
    bytes.copy(this.target.content, offset);
    this.target.answered.push(offset);
    this.heardAtMs = performance.now();
  }
  writeZeroes(): Promise<void> {
    return Promise.reject(new Error('nothing is zero'));
  }
  close(): void {
    this.end.resolve(new Error('closed'));
  }
  destroy(): void {
    this.destroyed = true;
    for (const reject of this.rejects) reject();
    // As with a real connection, requests may fail before its end is reported.
    setImmediate(() => this.end.resolve(new Error('destroyed')));
  }
}

let target: Target;
beforeEach(() => {
  target = new Target();
});

async function copyAll(changes: Partial<CopyOptions> = {}): Promise<void> {
  await new NetworkCopy(target, { ...options, ...changes }).run();
}

/** Requires that every byte was written exactly once. */
function requireWhole(): void {
  expect(target.content.equals(disk)).toBe(true);
  expect(target.answered).toHaveLength(DISK / options.requestBytes);
  expect(new Set(target.answered).size).toBe(target.answered.length);
  expect(target.progress).toBe(DISK);
}

describe('a copy across a network', () => {
  it('uses several connections, within its memory limit', async () => {
    const used = new Set<number>();
    target.behave = ({ number }) => {
      used.add(number);
      return 'answer';
    };
    await copyAll();
    requireWhole();
    expect([...used].sort()).toEqual([0, 1, 2, 3]);
    expect(target.mostHeld).toBeLessThanOrEqual(options.memoryBytes);
  });

  it('sends again only the requests that were unanswered when a connection ended', async () => {
    let writes = 0;
    target.behave = () => (++writes % 10 === 0 ? 'break' : 'answer');
    await copyAll();
    requireWhole();
    expect(target.connections.length).toBeGreaterThan(4);
    // Data that is sent again is not read again, and is digested once.
    expect(target.read).toHaveLength(DISK / options.requestBytes);
  });

  it('waits for an unreachable target, including at the beginning', async () => {
    let attempts = 0;
    target.reachable = () => ++attempts > 6;
    await copyAll();
    requireWhole();
  });

  it('ends when its patience is exhausted', async () => {
    target.reachable = () => target.answered.length < 20;
    target.behave = (connection) => {
      if (!target.reachable()) connection.destroy();
      return 'answer';
    };
    await expect(copyAll({ patienceMs: 200 })).rejects.toThrow(/^the target could not be reached for \d+ s: connect ECONNREFUSED$/);
  });

  it('ends when every connection is accepted and then breaks, once its patience is exhausted', async () => {
    let answered = 0;
    target.behave = () => (++answered <= 8 ? 'answer' : 'break');
    await expect(copyAll({ patienceMs: 300 })).rejects.toThrow(/^the target answered nothing for \d+ s, and each connection to it broke: lost$/);
    expect(target.answered).toHaveLength(8);
  });

  it("ends immediately with the target's refusal, and with the source's failure", async () => {
    target.behave = (_connection, offset) => (offset === 640 * KIB ? new Answer('No space left on device') : 'answer');
    await expect(copyAll()).rejects.toThrow('writing to the target at offset 655360: No space left on device');
    target.readSource = () => Promise.reject(new CopyFailedError('reading from the source at offset 0: Input/output error'));
    await expect(copyAll()).rejects.toThrow('reading from the source at offset 0: Input/output error');
  });

  it('gives up a connection that is silent while others get answers', async () => {
    target.behave = ({ number }) => (number === 1 ? 'hold' : 'answer');
    await copyAll();
    requireWhole();
    expect(target.connections[1]?.destroyed).toBe(true);
  });

  it('gives up connections that are all half-open', async () => {
    target.behave = ({ number }) => (number < 4 ? 'hold' : 'answer');
    await copyAll();
    requireWhole();
  });

  it('waits for a slow disk without limit, and tries only one other connection', async () => {
    target.behave = () => 'hold';
    const copied = copyAll({ patienceMs: 1 });
    // Each probe of a continuing silence is one more connection.
    while (target.connections.length < 10) await pause(10);
    expect(target.connections.filter(({ destroyed }) => destroyed)).toHaveLength(1);
    target.behave = () => 'answer';
    for (const { held } of target.connections) for (const answer of held) answer();
    await copied;
    requireWhole();
  });

  it('opens no connection if there is nothing to copy', async () => {
    await copyAll({ extents: [] });
    expect(target.connections).toEqual([]);
  });
});
