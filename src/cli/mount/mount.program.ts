import { createWriteStream } from 'node:fs';
import { lstat, rename, rm } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Option } from 'commander';
import { bytesText } from '../../kernel/bytes-text.js';
import { ifThere } from '../../lib/files/if-there.js';
import type { GuestFile, GuestFiles, Mount } from '../api/answers.js';
import { type HubApi, reasonOf } from '../api/hub-api.client.js';
import { hubOf } from '../api/hub-options.js';
import { BACKUPS, hubCommand, idOf, listCommand, MOUNTS, pageLimit, printRecord, REPOSITORIES, type ResourceOptions, table } from '../api/resource.command.js';
import { CliCommand } from '../terminal/command.js';
import { wholeNumber } from '../terminal/option-values.js';

/** The sandbox that reads a guest's file system takes half a minute to start where it is emulated. */
const MOUNT_MS = 300_000;
const RELEASE_MS = 120_000;
const ENCODINGS = ['utf-8', 'percent'] as const;
const ARCHIVES = ['tar.gz', 'zip'] as const;

interface PathOptions extends ResourceOptions {
  readonly nameEncoding: (typeof ENCODINGS)[number];
}

export function mountCommand(environment: NodeJS.ProcessEnv): CliCommand {
  const create = hubCommand('create', 'mount a disk of a restore point')
    .argument('<backup>', 'its id')
    .option('--disk <number>', 'the disk, from 0', wholeNumber, 0)
    .option('--partition <number>', 'as shown by an earlier mount; default: the largest file system that can be mounted', wholeNumber)
    .option('--repository <repository>', 'name or id of the repository to read; default: the first, or a copy if that cannot be used')
    .option('--allow-damaged', 'mount it even if it is known to be damaged, as far as it can be read')
    .does(async (backup: string, { disk, partition, repository, allowDamaged, ...options }: CreateOptions) => {
      const hub = await hubOf(options, environment);
      const request = {
        backup_id: await idOf(hub, BACKUPS, backup),
        disk_index: disk,
        ...(partition === undefined ? {} : { partition }),
        ...(repository === undefined ? {} : { repository_id: await idOf(hub, REPOSITORIES, repository) }),
        ...(allowDamaged === true ? { allow_damaged: true } : {}),
      };
      const mount = await hub.call<Mount>('POST', '/restore/mount', request, MOUNT_MS);
      if (options.json === true) printRecord(mount, options);
      else process.stdout.write(mountedText(mount));
    });
  const ofPath = (command: CliCommand): CliCommand =>
    command.addOption(
      new Option('--name-encoding <encoding>', 'of the path; percent for names that are not valid UTF-8, as listed').choices(ENCODINGS).default('utf-8'),
    );
  const files = ofPath(hubCommand('files', 'list the files of a directory'))
    .argument('<mount>', 'its id')
    .argument('[path]', 'from the root of the file system', '/')
    .option('--recursive', 'and everything below it')
    .option('--limit <number>', 'how many at most, up to 1000', pageLimit, 1000)
    .does(async (mount: string, path: string, { recursive, limit, nameEncoding, ...options }: FilesOptions) => {
      const hub = await hubOf(options, environment);
      const query = { path, name_encoding: nameEncoding, limit: String(limit), ...(recursive === true ? { recursive: 'true' } : {}) };
      const found = await hub.call<GuestFiles>('GET', `${await pathOf(hub, mount)}/files?${new URLSearchParams(query).toString()}`, undefined, MOUNT_MS);
      if (options.json === true) printRecord(found, options);
      else process.stdout.write(table(['type', 'mode', 'size_bytes', 'modified_time', 'path'], found.files.map(shownFile)));
      if (found.next_cursor !== null) process.stderr.write('There are more: name a directory below this one, or raise --limit.\n');
    });
  const get = ofPath(hubCommand('get', 'download a file, or a directory as an archive'))
    .argument('<mount>', 'its id')
    .argument('<path>', 'from the root of the file system')
    .option('--to <file>', 'where to write it; default: its name, in the current directory')
    .addOption(new Option('--format <format>', 'of an archive: tar.gz keeps owners, modes and names in any encoding').choices(ARCHIVES).default('tar.gz'))
    .option('--overwrite', 'replace an existing file')
    .does(async (mount: string, path: string, { to, format, overwrite, nameEncoding, ...options }: GetOptions) => {
      const hub = await hubOf(options, environment);
      const at = await pathOf(hub, mount);
      const query = new URLSearchParams({ path, name_encoding: nameEncoding });
      const { type } = await hub.call<GuestFile>('GET', `${at}/file-info?${query.toString()}`, undefined, MOUNT_MS);
      if (type === 'directory') query.set('format', format);
      const name = `${basename(path) === '' ? 'root' : basename(path)}${type === 'directory' ? `.${format}` : ''}`;
      const target = resolve(to ?? name);
      const size = await download(hub, `${at}/${type === 'directory' ? 'download-directory' : 'download'}?${query.toString()}`, target, overwrite === true);
      if (options.json === true) printRecord({ file: target, size_bytes: size }, options);
      else process.stdout.write(`${target}: ${bytesText(size)}\n`);
    });
  const release = hubCommand('release', 'unmount a disk; ends downloads from it')
    .argument('<mount>', 'its id')
    .does(async (mount: string, options: ResourceOptions) => {
      const hub = await hubOf(options, environment);
      await hub.call('DELETE', await pathOf(hub, mount), undefined, RELEASE_MS);
      process.stdout.write(`Mount ${mount} is released.\n`);
    });
  return new CliCommand('mount')
    .description('Mounts disks of restore points, lists their files and downloads them.')
    .addCommand(create)
    .addCommand(listCommand(MOUNTS, environment))
    .addCommand(files)
    .addCommand(get)
    .addCommand(release);
}

interface CreateOptions extends ResourceOptions {
  readonly disk: number;
  readonly partition?: number;
  readonly repository?: string;
  readonly allowDamaged?: true;
}

interface FilesOptions extends PathOptions {
  readonly recursive?: true;
  readonly limit: number;
}

interface GetOptions extends PathOptions {
  readonly to?: string;
  readonly format: (typeof ARCHIVES)[number];
  readonly overwrite?: true;
}

async function pathOf(hub: HubApi, mount: string): Promise<string> {
  return `/restore/${await idOf(hub, MOUNTS, mount)}`;
}

/**
 * The file has its name once it is complete and on disk.
 * @returns its size in bytes
 * @throws HubRefusalError; Error if the target exists, or the transfer breaks off
 */
async function download(hub: HubApi, path: string, target: string, overwrite: boolean): Promise<number> {
  const refuseExisting = async (): Promise<void> => {
    if (!overwrite && (await ifThere(lstat(target))) !== null) throw new Error(`${target} exists; choose another name with --to, or add --overwrite`);
  };
  await refuseExisting();
  const partial = `${target}.partial-${process.pid}`;
  try {
    const body = await hub.download(path);
    // What was a secret in the guest stays one here.
    const file = createWriteStream(partial, { flags: 'wx', mode: 0o600, flush: true });
    await pipeline(body, file).catch((error: unknown) => {
      throw new Error(`the download has broken off after ${bytesText(file.bytesWritten)}: ${reasonOf(error)}`, { cause: error });
    });
    await refuseExisting();
    await rename(partial, target);
    return file.bytesWritten;
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

function mountedText({ mount_id, driver, partition, filesystem_type, partitions }: Mount): string {
  const columns = ['number', 'name', 'size_bytes', 'filesystem_type', 'filesystem_label'];
  return (
    `Mount ${mount_id}: partition ${partition ?? '-'}, ${filesystem_type ?? 'unknown'}, by ${driver ?? '-'}.\n` +
    `${table(columns, partitions)}To look around: sendense mount files ${mount_id} /\n`
  );
}

function shownFile({ type, mode, size, modified_time, path, name_encoding, link_target }: GuestFile): Readonly<Record<string, unknown>> {
  const shown = `${path}${link_target === null ? '' : ` -> ${link_target}`}${name_encoding === 'percent' ? '  (--name-encoding percent)' : ''}`;
  return { type, mode, size_bytes: size, modified_time, path: shown };
}
