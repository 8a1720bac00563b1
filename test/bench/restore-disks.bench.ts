import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { RestoreJobResponse } from '../../src/hub/restore/restore-jobs/model/restore-job.response.js';
import { until } from '../support/hub-system.js';
import { BenchHub, changeDisk, GIB, MIB, settleDisks } from './bench-hub.js';
import { atMost, type BenchOptions, type BenchResult, inSeconds, median, ratio } from './measure.js';

const LIMIT = 1.1;

/** A whole-disk restore of an incremental through the whole system against qemu-img convert of the same chain. */
export async function benchRestoreDisks({ smoke }: BenchOptions): Promise<BenchResult> {
  const sizeBytes = smoke ? 128 * MIB : 2 * GIB;
  const rounds = smoke ? 1 : 5;
  const hub = await BenchHub.start();
  try {
    const [image] = await hub.addVm('bench', 1, { sizeBytes, dataBytes: sizeBytes });
    await hub.backUp('bench', 'full');
    await changeDisk(image ?? '', sizeBytes, 0.05, 1);
    const { backup } = await hub.backUp('bench', 'incremental');
    const source = backup.disk_results[0]?.qcow2_path ?? '';
    const target = join(hub.system.directory, 'restored');
    const ours: number[] = [];
    const bare: number[] = [];
    const measureBare = async (): Promise<void> => {
      const file = join(target, 'bare.raw');
      const begun = performance.now();
      await execa('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', source, file]);
      await execa('sync', [file]);
      bare.push(performance.now() - begun);
    };
    const measureOurs = async (): Promise<void> => {
      const begun = performance.now();
      const started = await hub.system.api<RestoreJobResponse>('POST', '/restore/disks', { backup_id: backup.backup_id, target_path: target, format: 'raw' });
      const job = await until('the restore', async () => {
        const { body } = await hub.system.api<RestoreJobResponse>('GET', `/restore/jobs/${started.body.job_id}`);
        return body.status === 'running' ? null : body;
      });
      ours.push(performance.now() - begun);
      if (job.status !== 'completed') throw new Error(`the restore ${job.status}: ${JSON.stringify(job.error)}`);
      await until('the restore to be cleaned up', async () => (await hub.system.api<RestoreJobResponse>('GET', `/restore/jobs/${job.job_id}`)).body.cleaned_up);
    };
    for (let round = 0; round < rounds; round++) {
      for (const measure of round % 2 === 0 ? [measureBare, measureOurs] : [measureOurs, measureBare]) {
        await mkdir(target);
        await settleDisks();
        await measure();
        await rm(target, { recursive: true });
      }
    }
    const quotient = median(ours) / median(bare);
    return {
      title: 'A whole-disk restore',
      notes: [
        `an incremental of 5 % on a full of ${sizeBytes / MIB} MiB of random data, in the page cache, to raw; ${rounds} rounds of both, alternately; medians`,
        'system: from sending POST /restore/disks to status completed: SHA-256 of the whole chain, copy, comparison of the content, fsync',
        'bare: qemu-img convert of the same chain, and sync of the file',
      ],
      head: ['', 'median', 'all rounds'],
      rows: [
        ['system', inSeconds(median(ours)), ours.map(inSeconds).join(', ')],
        ['bare qemu-img convert', inSeconds(median(bare)), bare.map(inSeconds).join(', ')],
        ['ratio', ratio(quotient), ours.map((value, index) => ratio(value / (bare[index] ?? Number.NaN))).join(', ')],
      ],
      targets: [atMost('restore / qemu-img convert', LIMIT, quotient, ratio)],
    };
  } finally {
    await hub.system.destroy();
  }
}
