import { cp, mkdir, open, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { execa } from 'execa';

const MIB = 1024 * 1024;
const BLOCK = 65_536;
const PAGE = 4096;
const DATABASE = '/pgdata/base/accounts.db';
const LOG = '/var/log/app.log';

interface SampleDisk {
  readonly file: string;
  readonly sizeBytes: number;
  /** Smaller than the data disk, which has raw blocks after the file system. */
  readonly fileSystemBytes: number;
}

const SYSTEM: SampleDisk = { file: 'system.qcow2', sizeBytes: 512 * MIB, fileSystemBytes: 512 * MIB };
const DATA: SampleDisk = { file: 'data.qcow2', sizeBytes: 1024 * MIB, fileSystemBytes: 1008 * MIB };

export interface DiskOverview {
  readonly file: string;
  readonly sizeBytes: number;
  readonly files: number;
  readonly imageBytes: number;
}

export interface ChangeOverview {
  readonly file: string;
  readonly what: readonly string[];
  /** Actual differences, in blocks of 64 KiB. */
  readonly changedBytes: number;
}

/** A file to look up in a restored disk, and its expected last line. */
export interface KnownLine {
  readonly file: string;
  readonly path: string;
  readonly lastLine: string;
}

/**
 * A powered-off VM: a folder with two qcow2 disks that hold ext4 file systems with real files. File system tools change a raw working copy of each disk; qemu
 * then writes every block that differs into the qcow2 image, as for a running guest, so that its bitmaps record the change.
 */
export class SampleVm {
  private log = '';

  private constructor(
    readonly folder: string,
    private readonly work: string,
  ) {}

  static async create(folder: string, work: string, programFolder: string): Promise<SampleVm> {
    await mkdir(folder, { recursive: true });
    await mkdir(work, { recursive: true });
    const vm = new SampleVm(folder, work);
    await vm.makeDisk(SYSTEM, (root) => vm.fillSystemDisk(root, programFolder));
    await vm.makeDisk(DATA, fillDataDisk);
    return vm;
  }

  get disks(): readonly string[] {
    return [DATA.file, SYSTEM.file];
  }

  async overview(): Promise<readonly DiskOverview[]> {
    return Promise.all(
      [SYSTEM, DATA].map(async (disk) => ({
        file: disk.file,
        sizeBytes: disk.sizeBytes,
        files: await countFiles(this.treeOf(disk)),
        imageBytes: (await stat(join(this.folder, disk.file))).size,
      })),
    );
  }

  /** The current content of every disk, flattened by qemu into raw files in `directory`, keyed by disk name. */
  async copyTo(directory: string): Promise<ReadonlyMap<string, string>> {
    await mkdir(directory, { recursive: true });
    const copies = new Map<string, string>();
    for (const file of this.disks) {
      const copy = join(directory, `${file}.raw`);
      await flatten(join(this.folder, file), copy);
      copies.set(file, copy);
    }
    return copies;
  }

  /** Changes both disks, as a day of use would. */
  async change(): Promise<readonly ChangeOverview[]> {
    return [await this.changeSystemDisk(), await this.changeDataDisk()];
  }

  knownLine(): KnownLine {
    return { file: SYSTEM.file, path: LOG, lastLine: lastLineOf(this.log) };
  }

  /** Files that both backups hold with different content. The database is rewritten in place, so its pages in the incremental come from both backups. */
  changedFiles(): readonly { readonly disk: string; readonly path: string }[] {
    return [
      { disk: SYSTEM.file, path: LOG },
      { disk: DATA.file, path: DATABASE },
    ];
  }

  private async changeSystemDisk(): Promise<ChangeOverview> {
    this.log += logLines(20_000, 2_000);
    await writeFile(join(this.work, 'app.log'), this.log);
    await writeFile(join(this.work, 'release.txt'), 'Release 2, installed after the first backup.\n');
    await this.fileSystemCommands(SYSTEM, [
      `rm ${LOG}`,
      `write app.log ${LOG}`,
      'mkdir /opt/release-2',
      'write release.txt /opt/release-2/release.txt',
      'rm /etc/motd',
    ]);
    const what = [`${LOG} has grown by 2000 lines`, '/opt/release-2/release.txt is new', '/etc/motd is deleted'];
    return { file: SYSTEM.file, what, changedBytes: await this.writeChangedBlocks(SYSTEM) };
  }

  private async changeDataDisk(): Promise<ChangeOverview> {
    await writeFile(join(this.work, 'report.csv'), csv(51));
    await this.fileSystemCommands(DATA, ['rm /reports/report-07.csv', 'write report.csv /reports/report-51.csv']);
    const { stdout } = await execa('debugfs', ['-R', `blocks ${DATABASE}`, this.rawOf(DATA)]);
    const pages = stdout.trim().split(/\s+/).map(Number);
    const raw = await open(this.rawOf(DATA), 'r+');
    try {
      // Pages throughout the database, rewritten in place. One in four becomes zero, which a backup must not treat as a hole.
      for (let page = 0; page < 200; page++) {
        const block = pages[Math.floor((page * pages.length) / 200)];
        if (block !== undefined) await raw.write(page % 4 === 0 ? Buffer.alloc(PAGE) : randomBytes(PAGE), 0, PAGE, block * PAGE);
      }
      await raw.write(randomBytes(MIB), 0, MIB, DATA.fileSystemBytes + 8 * MIB);
    } finally {
      await raw.close();
    }
    const what = [
      `200 pages of ${DATABASE} are rewritten in place, 50 of them with zeroes`,
      '/reports/report-51.csv is new, report-07.csv is deleted',
      '1 MiB of raw blocks after the file system is rewritten',
    ];
    return { file: DATA.file, what, changedBytes: await this.writeChangedBlocks(DATA) };
  }

  private async makeDisk(disk: SampleDisk, fill: (root: string) => Promise<void>): Promise<void> {
    const root = this.treeOf(disk);
    await mkdir(root, { recursive: true });
    await fill(root);
    const label = disk.file.replace('.qcow2', '');
    const blocks = String(disk.fileSystemBytes / PAGE);
    await execa('mke2fs', ['-q', '-t', 'ext4', '-b', String(PAGE), '-L', label, '-d', root, this.rawOf(disk), blocks]);
    await truncate(this.rawOf(disk), disk.sizeBytes);
    await execa('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', this.rawOf(disk), join(this.folder, disk.file)]);
  }

  private async fillSystemDisk(root: string, programFolder: string): Promise<void> {
    for (const folder of ['etc', 'usr/bin', 'var/log', 'opt']) await mkdir(join(root, folder), { recursive: true });
    await writeFile(join(root, 'etc/hostname'), 'pgtest1\n');
    await writeFile(join(root, 'etc/motd'), 'Welcome to pgtest1.\n');
    await cp(process.execPath, join(root, 'usr/bin', basename(process.execPath)));
    await cp(programFolder, join(root, 'opt/program'), { recursive: true });
    this.log = logLines(0, 20_000);
    await writeFile(join(root, LOG), this.log);
  }

  private async fileSystemCommands(disk: SampleDisk, commands: readonly string[]): Promise<void> {
    const script = join(this.work, 'debugfs-commands');
    await writeFile(script, `${commands.join('\n')}\n`);
    const { stderr } = await execa('debugfs', ['-w', '-f', script, this.rawOf(disk)], { cwd: this.work });
    // debugfs exits with 0 even when a command fails. The first line of its standard error is the version.
    const complaints = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('debugfs '));
    if (complaints.length > 0) throw new Error(`debugfs: ${complaints.join('; ')}`);
  }

  /** @returns bytes written, a multiple of 64 KiB */
  private async writeChangedBlocks(disk: SampleDisk): Promise<number> {
    const image = join(this.folder, disk.file);
    const before = join(this.work, 'before.raw');
    await flatten(image, before);
    const runs = await differences(before, this.rawOf(disk));
    const raw = await open(this.rawOf(disk));
    const commands: string[] = [];
    try {
      for (const [index, { offset, length }] of runs.entries()) {
        const content = Buffer.alloc(length);
        await raw.read(content, 0, length, offset);
        await writeFile(join(this.work, `blocks-${index}`), content);
        commands.push('-c', `write -s blocks-${index} ${offset} ${length}`);
      }
    } finally {
      await raw.close();
    }
    // qemu-io cannot quote names, so they are relative to the working directory.
    await execa('qemu-io', ['-f', 'qcow2', ...commands, image], { cwd: this.work });
    await Promise.all([before, ...runs.map((_, index) => join(this.work, `blocks-${index}`))].map((path) => rm(path)));
    return runs.reduce((sum, run) => sum + run.length, 0);
  }

  private rawOf(disk: SampleDisk): string {
    return join(this.work, `${disk.file}.working.raw`);
  }

  private treeOf(disk: SampleDisk): string {
    return join(this.work, `${disk.file}.files`);
  }
}

/** Flattens a disk image and its backing files into one raw file. */
export async function flatten(image: string, rawFile: string): Promise<void> {
  await execa('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', image, rawFile]);
}

/** Offset of the first byte that differs; null when the files are equal, including their lengths. */
export async function firstDifference(left: string, right: string): Promise<number | null> {
  const lengths = await Promise.all([stat(left), stat(right)]);
  if (lengths[0].size !== lengths[1].size) return Math.min(lengths[0].size, lengths[1].size);
  for await (const { offset, a, b } of blockPairs(left, right, 4 * MIB)) {
    if (!a.equals(b)) return offset + a.findIndex((byte, index) => byte !== b[index]);
  }
  return null;
}

/** Checks the file system on a raw disk without changing it. */
export async function fileSystemIsClean(rawDisk: string): Promise<boolean> {
  const { exitCode } = await execa('e2fsck', ['-f', '-n', rawDisk], { reject: false });
  return exitCode === 0;
}

/** Copies a file out of the file system on a raw disk with debugfs. Neither name may contain white space. */
export async function dumpFile(rawDisk: string, path: string, target: string): Promise<void> {
  await rm(target, { force: true });
  await execa('debugfs', ['-R', `dump ${path} ${basename(target)}`, rawDisk], { cwd: dirname(target) });
}

/** The last line of a file in the file system on a raw disk. */
export async function lastLineIn(rawDisk: string, path: string): Promise<string> {
  const { stdout } = await execa('debugfs', ['-R', `cat ${path}`, rawDisk]);
  return lastLineOf(stdout);
}

async function differences(left: string, right: string): Promise<readonly { readonly offset: number; readonly length: number }[]> {
  const runs: { offset: number; length: number }[] = [];
  for await (const { offset, a, b } of blockPairs(left, right, 4 * MIB)) {
    if (a.equals(b)) continue;
    for (let at = 0; at < a.length; at += BLOCK) {
      if (a.subarray(at, at + BLOCK).equals(b.subarray(at, at + BLOCK))) continue;
      const last = runs.at(-1);
      if (last !== undefined && last.offset + last.length === offset + at) last.length += BLOCK;
      else runs.push({ offset: offset + at, length: BLOCK });
    }
  }
  return runs;
}

async function* blockPairs(left: string, right: string, length: number): AsyncGenerator<{ readonly offset: number; readonly a: Buffer; readonly b: Buffer }> {
  const files = await Promise.all([open(left), open(right)]);
  const buffers = [Buffer.alloc(length), Buffer.alloc(length)] as const;
  try {
    for (let offset = 0; ; offset += length) {
      const [first, second] = await Promise.all([files[0].read(buffers[0], 0, length, offset), files[1].read(buffers[1], 0, length, offset)]);
      const a = first.buffer.subarray(0, first.bytesRead);
      const b = second.buffer.subarray(0, second.bytesRead);
      if (a.length === 0 && b.length === 0) return;
      yield { offset, a, b };
    }
  } finally {
    await Promise.all(files.map((file) => file.close()));
  }
}

async function fillDataDisk(root: string): Promise<void> {
  await mkdir(join(root, 'pgdata/base'), { recursive: true });
  await mkdir(join(root, 'reports'), { recursive: true });
  const database = await open(join(root, DATABASE), 'w');
  try {
    for (let written = 0; written < 160; written++) await database.write(randomBytes(MIB));
  } finally {
    await database.close();
  }
  for (let number = 1; number <= 50; number++) await writeFile(join(root, `reports/report-${String(number).padStart(2, '0')}.csv`), csv(number));
}

function csv(number: number): string {
  const rows = Array.from({ length: 500 }, (_, row) => `${number},${row},${randomBytes(8).toString('hex')}`);
  return `report,row,value\n${rows.join('\n')}\n`;
}

function logLines(from: number, count: number): string {
  return Array.from({ length: count }, (_, index) => `request ${from + index} answered with 200\n`).join('');
}

function lastLineOf(text: string): string {
  return text.trimEnd().split('\n').at(-1) ?? '';
}

async function countFiles(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).length;
}
