import { resolve } from 'node:path';
import { Argument, InvalidArgumentError, Option } from 'commander';
import { FileHasher } from '../../storage/hashing/file-hasher.js';
import type { DiskFormat } from '../../lib/qemu/disk-copy.plan.js';
import { QemuImg } from '../../lib/qemu/qemu-img.js';
import type { NoteVerifier } from '../../lib/ledger/signed-note.js';
import { signaturesText, trustedKey } from '../terminal/signatures.js';
import { countSignatures } from '../../storage/repository-files/manifest-signature.js';
import type { Manifest } from '../../storage/repository-files/manifest.js';
import { ProvenFiles } from '../../storage/repository-files/proven-files.js';
import { type FoundRestorePoint, RepositoryFiles } from '../../storage/repository-files/repository-files.js';
import { RestorePointVerifier } from '../../storage/repository-files/restore-point-verifier.js';
import { chainOf, choosePoint, type FoundPoint } from './model/found-points.plan.js';
import { bytesText } from '../../kernel/bytes-text.js';
import { CliCommand } from '../terminal/command.js';
import { restoreDisks } from './restore-disks/restore-disks.step.js';

const COMMANDS = ['list', 'verify', 'disks'] as const;
const FORMATS: readonly DiskFormat[] = ['raw', 'qcow2', 'vmdk'];

/** Wrong usage that only the repository's content shows. */
class UsageError extends Error {
  override readonly name = 'UsageError';
}

interface Options {
  readonly repository: string;
  readonly vm?: string;
  readonly point?: string;
  readonly disk: readonly number[];
  readonly format: DiskFormat;
  readonly target?: string;
  readonly overwrite?: true;
  readonly key: readonly NoteVerifier[];
  readonly json?: true;
}

export function restoreCommand(): CliCommand {
  const command: CliCommand = new CliCommand('restore')
    .description('Restores from a repository without a hub, a database or a network. Needs qemu-img.')
    .addArgument(
      new Argument(
        '[command]',
        'list the VMs and restore points in the repository; verify manifests, hashes and chains of all restore points, or of --point and its ancestors; ' +
          'write the disks of a restore point into a directory, where files get their names once checked',
      )
        .choices(COMMANDS)
        .default('list'),
    )
    .requiredOption('--repository <path>', "the repository's directory", (path) => resolve(path))
    .option('--target <dir>', 'the directory for the disks')
    .option('--vm <name>', 'only this VM')
    .option('--point <id>', 'a restore point: its id, the end of its id, or its folder; default: the newest')
    .option('--disk <number>', 'only this disk, from 0; may be repeated', diskNumbers, [])
    .addOption(new Option('--format <format>', 'format of the written disks').choices(FORMATS).default('raw'))
    .option(
      '--key <key>',
      'for verify: key of the hub (GET /ledger/key), kept where nobody can change it; may be repeated. Manifests that none of the keys has signed are then damage',
      (key: string, earlier: readonly NoteVerifier[]) => [...earlier, trustedKey(key)],
      [],
    )
    .option('--overwrite', 'replace existing files of the same names')
    .option('--json', 'print JSON, for programs')
    .addHelpText('after', '\nExit codes: 0 success, 1 something is damaged or could not be restored, 2 wrong usage')
    .does(async (what: (typeof COMMANDS)[number], options: Options) => {
      const hasher = new FileHasher();
      try {
        const files = new RepositoryFiles();
        return await new RestoreProgram(options, files, new RestorePointVerifier(files, new QemuImg(), hasher, new ProvenFiles(null)))[what]();
      } catch (error) {
        if (error instanceof UsageError) return command.error(error.message);
        throw error;
      } finally {
        hasher.onApplicationShutdown();
      }
    });
  return command;
}

function diskNumbers(text: string, earlier: readonly number[]): readonly number[] {
  if (!/^\d{1,4}$/.test(text)) throw new InvalidArgumentError('It must be a number.');
  return [...earlier, Number(text)];
}

class RestoreProgram {
  constructor(
    private readonly options: Options,
    private readonly files: RepositoryFiles,
    private readonly verifier: RestorePointVerifier,
  ) {}

  async list(): Promise<number> {
    const found = await this.found();
    const points = this.ofVm(pointsOf(found));
    const unreadable = found.flatMap(({ folder, problem }) => (problem === null ? [] : [{ folder, problem }]));
    this.print({ repository: this.options.repository, restore_points: points, unreadable }, () => {
      const lines: string[] = [];
      for (const vm of new Map(points.map((point) => [point.vm_id, point.vm_name]))) {
        lines.push(`VM ${vm[1]}  (${vm[0]})`);
        for (const point of points.filter(({ vm_id }) => vm_id === vm[0])) {
          const size = bytesText(point.disks.reduce((sum, disk) => sum + disk.file_size_bytes, 0));
          const { missing } = chainOf(point, points);
          const broken = missing === null ? '' : `  CANNOT BE RESTORED: its ancestor ${missing} is missing`;
          lines.push(`  ${point.instant}  ${point.backup_type.padEnd(11)}  ${point.backup_id}  ${point.disks.length} disk(s), ${size}${broken}`);
        }
      }
      for (const { folder, problem } of unreadable) lines.push(`UNREADABLE ${folder}: ${problem}`);
      return lines.length === 0 ? ['The repository holds no restore points.'] : lines;
    });
    return unreadable.length === 0 ? 0 : 1;
  }

  async verify(): Promise<number> {
    const found = await this.found();
    const points = pointsOf(found);
    const folders = this.options.point === undefined ? this.foldersOf(found) : chainOf(this.chosen(points), points).chain.map(({ folder }) => folder);
    const verdicts = [];
    for (const folder of folders) {
      this.tell(`checking ${folder}`, null);
      verdicts.push(await this.verifier.verifyPoint(this.options.repository, folder, { keys: this.options.key }));
    }
    this.clear();
    const findings = [
      ...new Map(verdicts.flatMap((verdict) => verdict.findings).map((finding) => [`${finding.code} ${finding.file ?? finding.folder}`, finding])).values(),
    ];
    const damaged = new Set(findings.map(({ folder }) => folder));
    const unusable = points
      .filter((point) => folders.includes(point.folder))
      .filter((point) => {
        const { chain, missing } = chainOf(point, points);
        return missing !== null || chain.some(({ folder }) => damaged.has(folder));
      })
      .map(({ backup_id }) => backup_id);
    const bytes = verdicts.reduce((sum, verdict) => sum + verdict.bytes_checked, 0);
    const ok = findings.length === 0;
    const signatures = countSignatures(verdicts.flatMap(({ signature }) => signature ?? []));
    this.print({ ok, restore_points_checked: verdicts.length, bytes_checked: bytes, signatures, findings, unusable_restore_points: unusable }, () => [
      ...findings.map(({ code, detail }) => `${code}: ${detail}`),
      ...unusable.map((id) => `Restore point ${id} cannot be restored.`),
      ok
        ? `OK: ${verdicts.length} restore point(s), ${bytesText(bytes)} checked. ${signaturesText(signatures)}`
        : `DAMAGED: ${findings.length} finding(s) in ${verdicts.length} restore point(s).`,
    ]);
    return ok ? 0 : 1;
  }

  async disks(): Promise<number> {
    const { target, format, repository: repositoryPath } = this.options;
    if (target === undefined) throw new UsageError('disks needs --target DIR');
    const found = await this.found();
    const point = this.chosen(pointsOf(found));
    const manifest = found.find(({ folder }) => folder === point.folder)?.manifest ?? null;
    const files = new Map<number, string>();
    for (const disk of manifest?.disks ?? []) {
      if (this.options.disk.length === 0 || this.options.disk.includes(disk.disk_id)) files.set(disk.disk_id, `${point.folder}/${disk.file}`);
    }
    const unknown = this.options.disk.filter((diskId) => !files.has(diskId));
    if (unknown.length > 0) throw new UsageError(`restore point ${point.backup_id} has no disk ${unknown.join(', ')}; it has ${point.disks.length}, from 0`);

    const stop = new AbortController();
    const interrupt = (): void => stop.abort(new Error('interrupted; nothing was left behind'));
    process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
    try {
      const restored = await restoreDisks(this.files, this.verifier, {
        repositoryPath,
        point,
        files,
        target: resolve(target),
        format,
        overwrite: this.options.overwrite === true,
        signal: stop.signal,
        tell: (what, percent) => this.tell(what, percent),
      });
      this.clear();
      this.print({ backup_id: point.backup_id, vm_name: point.vm_name, instant: point.instant, files: restored }, () => [
        `VM ${point.vm_name} as of ${point.instant}, checked:`,
        ...restored.map((file) => `  ${file}`),
      ]);
      return 0;
    } finally {
      process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    }
  }

  private async found(): Promise<readonly FoundRestorePoint[]> {
    return this.files.listRestorePoints(this.options.repository);
  }

  private chosen(points: readonly FoundPoint[]): FoundPoint {
    const choice = choosePoint(points, this.options);
    if ('problem' in choice) throw new UsageError(choice.problem);
    return choice.point;
  }

  private ofVm(points: readonly FoundPoint[]): readonly FoundPoint[] {
    const { vm } = this.options;
    return vm === undefined ? points : points.filter(({ vm_name, vm_id }) => vm_name === vm || vm_id === vm);
  }

  private foldersOf(found: readonly FoundRestorePoint[]): readonly string[] {
    const { vm } = this.options;
    return found
      .filter(({ manifest }) => vm === undefined || manifest === null || manifest.vm.name === vm || manifest.vm.vm_id === vm)
      .map(({ folder }) => folder);
  }

  private print(document: object, lines: () => readonly string[]): void {
    process.stdout.write(this.options.json === true ? `${JSON.stringify(document, null, 2)}\n` : `${lines().join('\n')}\n`);
  }

  /** Progress is for interactive use: a single line, overwritten in place. */
  private tell(what: string, percent: number | null): void {
    if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${what}${percent === null ? '' : ` ${percent.toFixed(0)} %`}`);
  }

  private clear(): void {
    if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
  }
}

function pointsOf(found: readonly FoundRestorePoint[]): readonly FoundPoint[] {
  return found.flatMap(({ folder, manifest }) => (manifest === null ? [] : [pointOf(folder, manifest)])).sort((a, b) => a.instant.localeCompare(b.instant));
}

function pointOf(folder: string, manifest: Manifest): FoundPoint {
  return {
    backup_id: manifest.backup_id,
    folder,
    vm_id: manifest.vm.vm_id,
    vm_name: manifest.vm.name,
    backup_type: manifest.backup_type,
    instant: manifest.instant,
    parent_backup_id: manifest.parent?.backup_id ?? null,
    chain_id: manifest.chain_id,
    disks: manifest.disks.map(({ disk_id, disk_key, virtual_size_bytes, file_size_bytes }) => ({ disk_id, disk_key, virtual_size_bytes, file_size_bytes })),
  };
}
