import { object, type JsonRecord } from './tool-json.js';
import { runBounded } from './bounded-tool.js';
import { type DiskPartition, MountError } from './mount-driver.port.js';

const PROBE_DEADLINE_MS = 15_000;
const NOTHING_FOUND = 2;
/** Several signatures contradict each other. */
const AMBIVALENT = 8;

/** Volumes that cannot be read without a key. */
const ENCRYPTED: ReadonlySet<string> = new Set(['crypto_LUKS', 'BitLocker', 'FVE-FS']);
/** Types that hold no files themselves. */
const NO_FILES: ReadonlySet<string> = new Set(['swap', 'LVM2_member', 'linux_raid_member', 'zfs_member', ...ENCRYPTED]);

/**
 * Searches a raw disk, in a file or a device, for file systems.
 * @throws MountError `mount_timed_out`, `restore_point_unreadable`; or the reason of the signal
 */
export async function probePartitions(disk: string, sizeBytes: number, signal: AbortSignal): Promise<readonly DiskPartition[]> {
  const whole = await probe([disk], signal);
  if (whole['TYPE'] !== undefined || whole['PTTYPE'] === undefined) return [partitionOf(0, 'whole disk', 0, sizeBytes, null, whole)];
  const table = await partitionTable(disk, signal);
  const found: DiskPartition[] = [];
  for (const { number, start, size, label } of table) {
    found.push(partitionOf(number, `partition ${number}`, start, size, label, await probe(['-O', String(start), '-S', String(size), disk], signal)));
  }
  return found;
}

/**
 * Chooses the partition to mount.
 * @throws MountError `partition_not_found`, `filesystem_not_found`, `filesystem_encrypted`, `filesystem_unsupported`
 */
export function choosePartition(partitions: readonly DiskPartition[], wanted: number | null, canMount: (filesystemType: string) => boolean): DiskPartition {
  if (wanted !== null) {
    const partition = partitions.find(({ number }) => number === wanted);
    if (partition === undefined) {
      throw new MountError('partition_not_found', `the disk has no partition ${wanted}; it has ${listed(partitions)}`, partitions);
    }
    const refusal = refusalOf(partition, canMount);
    if (refusal !== null) throw new MountError(refusal.code, refusal.message, partitions);
    return partition;
  }
  const usable = partitions.filter((partition) => refusalOf(partition, canMount) === null);
  const largest = usable.toSorted((a, b) => (b.size_bytes ?? 0) - (a.size_bytes ?? 0))[0];
  if (largest !== undefined) return largest;
  const refusals = partitions.map((partition) => refusalOf(partition, canMount));
  for (const code of ['filesystem_unsupported', 'filesystem_encrypted'] as const) {
    const refusal = refusals.find((each) => each?.code === code);
    if (refusal) throw new MountError(code, refusal.message, partitions);
  }
  throw new MountError('filesystem_not_found', `no file system was found on the disk; it has ${listed(partitions)}`, partitions);
}

function refusalOf(
  { name, filesystem_type: type }: DiskPartition,
  canMount: (filesystemType: string) => boolean,
): { readonly code: 'filesystem_not_found' | 'filesystem_encrypted' | 'filesystem_unsupported'; readonly message: string } | null {
  if (type === null || type === 'swap') return { code: 'filesystem_not_found', message: `${name} holds no known file system (${type ?? 'nothing'})` };
  if (ENCRYPTED.has(type)) return { code: 'filesystem_encrypted', message: `${name} is encrypted (${type}) and cannot be read without its key` };
  if (NO_FILES.has(type) || !canMount(type)) return { code: 'filesystem_unsupported', message: `${name} holds ${type}, which this driver cannot mount` };
  return null;
}

function listed(partitions: readonly DiskPartition[]): string {
  return partitions.map(({ name, filesystem_type }) => `${name} (${filesystem_type ?? 'nothing known'})`).join(', ') || 'no partitions';
}

function partitionOf(
  number: number,
  name: string,
  start: number,
  size: number,
  label: string | null,
  found: Readonly<Record<string, string | undefined>>,
): DiskPartition {
  return {
    number,
    name,
    start_bytes: start,
    size_bytes: size,
    label: label === '' ? null : label,
    filesystem_type: found['TYPE'] ?? null,
    filesystem_label: found['LABEL'] ?? null,
  };
}

/** `blkid -p` only reads superblocks and mounts nothing. */
async function probe(target: readonly string[], signal: AbortSignal): Promise<Readonly<Record<string, string | undefined>>> {
  const { stdout, exitCode } = await runBounded(['blkid', '-p', '-o', 'export', ...target], PROBE_DEADLINE_MS, {
    signal,
    expectedExitCodes: [0, NOTHING_FOUND, AMBIVALENT],
  });
  if (exitCode !== 0) return {};
  const found: Record<string, string> = {};
  for (const line of stdout.split('\n')) {
    const equals = line.indexOf('=');
    // Values are shell-escaped.
    if (equals > 0) found[line.slice(0, equals)] = line.slice(equals + 1).replaceAll(/\\(.)/g, '$1');
  }
  return found;
}

interface TableEntry {
  readonly number: number;
  /** In bytes, as size. */
  readonly start: number;
  readonly size: number;
  readonly label: string | null;
}

/** MBR types of extended partitions. */
const EXTENDED: ReadonlySet<string> = new Set(['5', 'f', '85']);

async function partitionTable(disk: string, signal: AbortSignal): Promise<readonly TableEntry[]> {
  const { stdout, exitCode } = await runBounded(['sfdisk', '--json', disk], PROBE_DEADLINE_MS, { signal, expectedExitCodes: [0, 1] });
  if (exitCode !== 0) return [];
  const table = object(object(JSON.parse(stdout))['partitiontable']);
  const sector = typeof table['sectorsize'] === 'number' ? table['sectorsize'] : 512;
  const partitions = Array.isArray(table['partitions']) ? table['partitions'] : [];
  return partitions.map(object).flatMap((partition) => entryOf(partition, sector));
}

function entryOf(partition: JsonRecord, sector: number): readonly TableEntry[] {
  const { node, start, size, type, name } = partition;
  const number = typeof node === 'string' ? Number(/(\d+)$/.exec(node)?.[1]) : Number.NaN;
  if (!Number.isInteger(number) || typeof start !== 'number' || typeof size !== 'number') return [];
  if (typeof type === 'string' && EXTENDED.has(type)) return [];
  return [{ number, start: start * sector, size: size * sector, label: typeof name === 'string' ? name : null }];
}
