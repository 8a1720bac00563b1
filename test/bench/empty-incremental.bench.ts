import { BenchHub, MIB } from './bench-hub.js';
import { atMost, type BenchOptions, type BenchResult, inMilliseconds, median, percentile } from './measure.js';

const COMPLETED_LIMIT_MS = 1_000;
const ANSWERED_LIMIT_MS = 300;

/** What a backup costs when there is nothing to copy. */
export async function benchEmptyIncremental({ smoke }: BenchOptions): Promise<BenchResult> {
  const rounds = smoke ? 3 : 40;
  const hub = await BenchHub.start({ env: { SENDENSE_CHAIN_MAX_LENGTH: '1000' } });
  try {
    await hub.addVm('bench', 2, { sizeBytes: 256 * MIB, dataBytes: 8 * MIB });
    await hub.backUp('bench', 'full');
    const answered: number[] = [];
    const completed: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const { answeredMs, completedMs } = await hub.backUp('bench', 'incremental');
      answered.push(answeredMs);
      completed.push(completedMs);
    }
    const row = (name: string, values: readonly number[]): string[] => [name, ...[50, 95, 100].map((percent) => inMilliseconds(percentile(values, percent)))];
    return {
      title: 'An empty incremental',
      notes: [`a VM with 2 disks of which nothing has changed; ${rounds} incrementals, one after the other`],
      head: ['from POST /backups to', 'median', '95th percentile', 'slowest'],
      rows: [row('the answer 202, all exports ready', answered), row('BackupCompleted on the event stream', completed)],
      targets: [
        atMost('POST to 202, median', ANSWERED_LIMIT_MS, median(answered), inMilliseconds),
        atMost('POST to completed, median', COMPLETED_LIMIT_MS, median(completed), inMilliseconds),
        atMost('POST to completed, slowest', COMPLETED_LIMIT_MS, percentile(completed, 100), inMilliseconds),
      ],
    };
  } finally {
    await hub.system.destroy();
  }
}
