import { bar, size } from './text-layout.js';

export interface DiskProgress {
  readonly disk_key: string;
  readonly status: string;
  readonly bytes_transferred: number;
  readonly total_bytes: number;
}

/** One bar per disk. A terminal redraws them in place; other outputs get a line each time a disk advances by a tenth. */
export class ProgressView {
  private drawnLines = 0;
  private readonly told = new Map<string, string>();

  constructor(private readonly out: NodeJS.WriteStream) {}

  show(disks: readonly DiskProgress[]): void {
    const widest = Math.max(...disks.map((disk) => disk.disk_key.length));
    const lines = disks.map((disk) => ({ disk, text: this.line(disk, widest) }));
    if (this.out.isTTY) {
      if (this.drawnLines > 0) this.out.write(`\u001b[${this.drawnLines}A`);
      for (const { text } of lines) this.out.write(`\u001b[2K${text}\n`);
      this.drawnLines = lines.length;
      return;
    }
    for (const { disk, text } of lines) {
      const mark = `${disk.status} ${Math.floor(fractionOf(disk) * 10)}`;
      if (this.told.get(disk.disk_key) === mark || disk.total_bytes === 0) continue;
      this.told.set(disk.disk_key, mark);
      this.out.write(`${text}\n`);
    }
  }

  private line(disk: DiskProgress, widest: number): string {
    const fraction = fractionOf(disk);
    const percent = `${Math.floor(fraction * 100)}`.padStart(3);
    return `   ${disk.disk_key.padEnd(widest)} ${bar(fraction)} ${percent} %  ${size(disk.bytes_transferred)} of ${size(disk.total_bytes)}`;
  }
}

function fractionOf(disk: DiskProgress): number {
  if (disk.status === 'completed') return 1;
  return disk.total_bytes === 0 ? 0 : disk.bytes_transferred / disk.total_bytes;
}
