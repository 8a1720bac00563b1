import { bareCopy } from './bare-copy.js';
import { BenchHub, changeDisk, GIB, MIB, settleDisks } from './bench-hub.js';
import { atMost, type BenchOptions, type BenchResult, inSeconds, median, ratio, type Target } from './measure.js';

const LIMIT = 1.25;
const SHARE = 0.05;

interface Case {
  readonly sizeBytes: number;
  readonly dataBytes: number;
}

/** An incremental of 5 % in pieces of 64 KiB against nbdcopy alone with the same extents. */
export async function benchIncrementalBackup({ smoke }: BenchOptions): Promise<BenchResult> {
  const cases: readonly Case[] = smoke
    ? [{ sizeBytes: 128 * MIB, dataBytes: 64 * MIB }]
    : [
        { sizeBytes: 2 * GIB, dataBytes: 2 * GIB },
        { sizeBytes: 16 * GIB, dataBytes: GIB },
      ];
  const rounds = smoke ? 1 : 3;
  const rows: string[][] = [];
  const targets: Target[] = [];
  for (const one of cases) {
    const { ours, bare, changedBytes } = await measure(one, rounds);
    const name = `2 x ${one.sizeBytes / MIB} MiB`;
    const quotient = median(ours) / median(bare);
    const all = ours.map((value, index) => ratio(value / (bare[index] ?? Number.NaN))).join(', ');
    rows.push([name, `${Math.round(changedBytes / MIB)} MiB`, inSeconds(median(ours)), inSeconds(median(bare)), ratio(quotient), all]);
    targets.push(atMost(`incremental of ${name} / bare nbdcopy`, LIMIT, quotient, ratio));
  }
  return {
    title: 'An incremental backup',
    notes: [
      `2 disks, ${SHARE * 100} % of each rewritten in pieces of 64 KiB spread evenly; ${rounds} rounds of both, alternately, each after new changes; medians`,
      'system: from sending POST /backups to BackupCompleted on the event stream, finding the changed extents included',
      'bare: nbdcopy --flush of the same extents (nbdkit extentlist) of both disks at once, onto qcow2 files with the same parents, between servers that run already',
    ],
    head: ['disks', 'changed', 'system', 'bare nbdcopy', 'ratio', 'ratio of each round'],
    rows,
    targets,
  };
}

async function measure(
  { sizeBytes, dataBytes }: Case,
  rounds: number,
): Promise<{ readonly ours: number[]; readonly bare: number[]; readonly changedBytes: number }> {
  const hub = await BenchHub.start();
  try {
    const images = await hub.addVm('bench', 2, { sizeBytes, dataBytes });
    let parent = (await hub.backUp('bench', 'full')).backup;
    const ours: number[] = [];
    const bare: number[] = [];
    let changedBytes = 0;
    for (let round = 0; round < rounds; round++) {
      const changes = await Promise.all(images.map((image, index) => changeDisk(image, sizeBytes, SHARE, round * 7 + index)));
      const disks = images.map((image, index) => ({
        image,
        sizeBytes,
        changes: { extents: changes[index] ?? [], backingFile: parent.disk_results[index]?.qcow2_path ?? '' },
      }));
      const measureBare = async (): Promise<void> => {
        await settleDisks();
        bare.push(await bareCopy(disks));
      };
      const measureOurs = async (): Promise<void> => {
        await settleDisks();
        const { backup, completedMs } = await hub.backUp('bench', 'incremental');
        ours.push(completedMs);
        parent = backup;
        changedBytes = backup.bytes_transferred;
      };
      for (const measureOne of round % 2 === 0 ? [measureBare, measureOurs] : [measureOurs, measureBare]) await measureOne();
    }
    return { ours, bare, changedBytes };
  } finally {
    await hub.system.destroy();
  }
}
