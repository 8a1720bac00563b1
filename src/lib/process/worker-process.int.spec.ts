import { afterEach, describe, expect, it } from '@jest/globals';
import { WorkerProcess } from './worker-process.js';

/** Answers each task as it says, so that the parent's side is tested alone. */
const PROGRAM = [
  '-e',
  `process.on('message', ({ id, task }) => {
    if (task === 'exit') process.exit(1);
    if (task === 'hang') return;
    process.send({ id, progress: 7 });
    process.send(task === 'fail' ? { id, ok: false, code: 'ENOENT', message: 'no such file' } : { id, ok: true, result: task });
  })`,
];

describe('WorkerProcess', () => {
  let worker: WorkerProcess | undefined;
  afterEach(() => worker?.end(null));

  it('returns results, progress and failures of the right task', async () => {
    worker = new WorkerProcess(PROGRAM, () => new Error('lost'));
    const progress: number[] = [];
    const [first, second] = [worker.call('one', (each) => progress.push(each)), worker.call('fail')];
    await expect(first).resolves.toBe('one');
    await expect(second).rejects.toMatchObject({ name: 'WorkerError', code: 'ENOENT', message: 'no such file' });
    expect([progress, worker.pending]).toEqual([[7], 0]);
  });

  it('rejects pending and later tasks once the process has ended by itself', async () => {
    worker = new WorkerProcess(PROGRAM, () => new Error('lost'));
    const pending = worker.call('hang');
    const last = worker.call('exit');
    await expect(pending).rejects.toThrow('lost');
    await expect(last).rejects.toThrow('lost');
    await worker.gone;
    expect(worker.ended).toBe(true);
    await expect(worker.call('one')).rejects.toThrow('lost');
  });

  it('rejects pending tasks at once when it is ended, and only after the exit when it is killed', async () => {
    worker = new WorkerProcess(PROGRAM, () => new Error('lost'));
    await worker.call('started');
    const hanging = worker.call('hang');
    worker.end(new Error('not needed any more'));
    await expect(hanging).rejects.toThrow('not needed any more');
    const killed = new WorkerProcess(PROGRAM, () => new Error('lost'));
    const asked = killed.call('hang');
    killed.kill();
    expect([killed.ended, killed.pending]).toEqual([false, 1]);
    await expect(asked).rejects.toThrow('lost');
  });

  it('counts as lost when it cannot be started', async () => {
    worker = new WorkerProcess(['--no-such-option'], () => new Error('lost'));
    await expect(worker.call('one')).rejects.toThrow('lost');
  });
});
