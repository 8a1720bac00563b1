import { bareCopy } from './bare-copy.js';
import { BenchHub, GIB, MIB, settleDisks } from './bench-hub.js';
import { atMost, type BenchOptions, type BenchResult, inSeconds, median, ratio } from './measure.js';

const LIMIT = 1.1;

/** A full of random data through the whole system against nbdcopy alone. */
export async function benchFullBackup({ smoke }: BenchOptions): Promise<BenchResult> {
  const sizeBytes = smoke ? 128 * MIB : 2 * GIB;
  const rounds = smoke ? 1 : 5;
  const hub = await BenchHub.start();
  try {
    const images = await hub.addVm('bench', 2, { sizeBytes, dataBytes: sizeBytes });
    const ours: number[] = [];
    const bare: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const measureBare = async (): Promise<void> => {
        await settleDisks();
        bare.push(await bareCopy(images.map((image) => ({ image, sizeBytes, changes: null }))));
      };
      const measureOurs = async (): Promise<void> => {
        await settleDisks();
        const { backup, completedMs } = await hub.backUp('bench', 'full');
        ours.push(completedMs);
        await hub.remove(backup.backup_id);
      };
      // Whoever comes first in one round comes second in the next.
      for (const measure of round % 2 === 0 ? [measureBare, measureOurs] : [measureOurs, measureBare]) await measure();
    }
    const quotient = median(ours) / median(bare);
    const speed = (milliseconds: number): string => `${Math.round((2 * sizeBytes) / MIB / (milliseconds / 1000))} MiB/s`;
    return {
      title: 'A full backup',
      notes: [
        `2 disks of ${sizeBytes / MIB} MiB of random data, qcow2, in the page cache; ${rounds} rounds of both, alternately; medians`,
        'system: from sending POST /backups to BackupCompleted on the event stream: exports, snapshot, copy, qemu-img check, SHA-256 of every file, fsync, manifest',
        'bare: nbdcopy --flush of both disks at once between qemu-nbd servers that run already, otherwise with the same options',
      ],
      head: ['', 'median', 'all rounds', 'speed'],
      rows: [
        ['system', inSeconds(median(ours)), ours.map(inSeconds).join(', '), speed(median(ours))],
        ['bare nbdcopy', inSeconds(median(bare)), bare.map(inSeconds).join(', '), speed(median(bare))],
        ['ratio', ratio(quotient), ours.map((value, index) => ratio(value / (bare[index] ?? Number.NaN))).join(', '), ''],
      ],
      targets: [atMost('full backup / bare nbdcopy', LIMIT, quotient, ratio)],
    };
  } finally {
    await hub.system.destroy();
  }
}
