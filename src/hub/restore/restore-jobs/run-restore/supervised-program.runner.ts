import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { DomainError } from '../../../../kernel/domain-error.js';
import { ProcessSupervisor } from '../../../../lib/process/process-supervisor.port.js';
import { percentIn } from '../../../../lib/qemu/disk-copy.plan.js';
import { copyFailure } from './run-restore.plan.js';

const PROGRESS_MS = 250;
/** The newest figure is in the last few characters of qemu-img's output. */
const PROGRESS_TAIL_BYTES = 64;

/** Programs of restore jobs. Each has a run directory, so that the hub finds it after a crash, still running or with its exit code. */
@Injectable()
export class SupervisedProgram {
  constructor(private readonly supervisor: ProcessSupervisor) {}

  /**
   * Starts the program, or adopts the one that an earlier run started, and waits for its end.
   * @returns its exit code, one of `expected`
   * @throws DomainError for any other exit code; the signal's reason
   */
  async run(
    runDirectory: string,
    argv: readonly [string, ...string[]],
    options: { readonly expected: readonly number[]; readonly signal: AbortSignal; readonly onProgress: (percent: number) => void },
  ): Promise<number> {
    const before = await this.supervisor.status(runDirectory);
    // The exit code is unknown: the machine went down, so its output cannot be trusted.
    if (before.state === 'exited' && before.exitCode === null) await this.supervisor.forget(runDirectory);
    await this.supervisor.start(runDirectory, argv);
    const ticker = setInterval(() => {
      tail(join(runDirectory, 'stdout')).then(
        (text) => options.onProgress(percentIn(text)),
        () => undefined,
      );
    }, PROGRESS_MS);
    try {
      const end = await this.supervisor.waitForExit(runDirectory, options.signal);
      if (end.exitCode !== null && options.expected.includes(end.exitCode)) return end.exitCode;
      const { code, detail } = copyFailure(argv[0], end.exitCode, end.stderr);
      throw new DomainError(code === 'target_full' ? 'storage_full' : 'conflict', code, detail);
    } finally {
      clearInterval(ticker);
    }
  }

  async end(runDirectory: string): Promise<void> {
    await this.supervisor.stop(runDirectory, 2_000);
    await this.supervisor.forget(runDirectory);
  }
}

async function tail(path: string): Promise<string> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const { bytesRead, buffer } = await file.read(Buffer.alloc(PROGRESS_TAIL_BYTES), 0, PROGRESS_TAIL_BYTES, Math.max(0, size - PROGRESS_TAIL_BYTES));
    return buffer.subarray(0, bytesRead).toString('utf8');
  } finally {
    await file.close();
  }
}
