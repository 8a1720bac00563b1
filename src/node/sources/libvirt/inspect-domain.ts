import { realpath } from 'node:fs/promises';
import { DomainError } from '../../../kernel/domain-error.js';
import { messageOf } from '../../../kernel/error-message.js';
import type { CheckpointDescription, DomainDisk } from '../../../lib/libvirt/domain-xml.js';
import { LibvirtError } from '../../libvirt/libvirt-error.js';
import type { BackupJobState, DomainInspection, DomainState, Virsh } from '../../libvirt/virsh.js';
import type { NodeDisk, NodeLeftOutDisk } from '../../../contract/vm-list.js';
import { errnoOf } from '../../../lib/process/system-error.js';
import { ToolError } from '../../../lib/process/tool-error.js';
import type { QemuImg } from '../../../lib/qemu/qemu-img.js';
import type { ImageBitmap, ImageInfo } from '../../../lib/qemu/qemu-img-output.js';
import type { Failure } from '../../model/job.state.js';
import { type ChainRules, type DiskChain, withChain } from '../disk-chain/disk-chain.js';
import { NotThisFileError } from '../disk-chain/held-file.js';
import { lookInto, toolMissing } from '../image/image-files.js';
import { DomainRules } from './domain-rules.js';
import { leftOut } from './left-out.js';

/** Prefix of every checkpoint and bitmap that our nodes create. */
export const OWN_PREFIX = 'sendense-';

type ChangeIdProblem = NonNullable<NodeDisk['change_id_problems']>[number];

/** The current state of a domain's disk. */
export interface InspectedDisk {
  readonly target: string;
  readonly path: string;
  readonly format: 'qcow2' | 'raw';
  readonly tracking: boolean;
  /** Virtual size. */
  readonly sizeBytes: number;
  /** Names of checkpoints that identify all changes since. */
  readonly changeIds: readonly string[];
  readonly changeIdProblems: readonly ChangeIdProblem[];
  /** Names of all our bitmaps stored in its file, usable or not. Those created since a running guest started are not stored yet. */
  readonly storedBitmaps: readonly string[];
  readonly problem: Failure | null;
}

export interface InspectedDomain {
  readonly uuid: string;
  readonly name: string;
  readonly state: DomainState;
  /** The domain has a qemu process, which owns its files. */
  readonly active: boolean;
  readonly hasAgentChannel: boolean;
  readonly disks: readonly InspectedDisk[];
  readonly leftOut: readonly NodeLeftOutDisk[];
  /** Targets of all its devices, including excluded ones. */
  readonly targets: readonly string[];
  /** Our checkpoints that libvirt knows. */
  readonly checkpoints: readonly string[];
  /** The XML for its next start. */
  readonly definition: string;
  readonly backupJob: BackupJobState;
  /** Apply to its files whenever they are opened. */
  readonly rules: ChainRules;
}

/**
 * Inspects a domain: its disks, and which of our checkpoints are reliable for each.
 * @throws DomainError vm_not_found, libvirt_unavailable, tool_missing
 */
export async function inspectDomain(uuid: string, virsh: Virsh, qemuImg: QemuImg, templates: readonly string[]): Promise<InspectedDomain> {
  try {
    const inspection = await virsh.inspect(uuid, (checkpoint) => checkpoint.startsWith(OWN_PREFIX));
    const { domain, definition, state, backupJob } = inspection;
    const then = inspection.checkpoints.flatMap(({ described }) => described.domain ?? []);
    const rules = new DomainRules([domain, ...then], () => virsh.snapshotDomains(uuid), templates);
    const disks = await Promise.all(
      domain.disks
        .filter((disk) => leftOut(disk) === null)
        .map(async (disk) => {
          const path = disk.path ?? (await volumePathOrNull(virsh, disk));
          if (path === null) return unusable(disk, '', `The volume of disk "${disk.target}" cannot be found in its storage pool.`);
          return domain.active ? inspectLiveDisk(disk, path, inspection, rules) : inspectOfflineDisk(disk, path, inspection, rules, qemuImg);
        }),
    );
    return {
      uuid: domain.uuid,
      name: domain.name,
      state,
      active: domain.active,
      hasAgentChannel: domain.hasAgentChannel,
      disks,
      targets: domain.disks.map(({ target }) => target),
      leftOut: domain.disks.flatMap((disk) => leftOut(disk) ?? []),
      checkpoints: inspection.checkpoints.map(({ described }) => described.name),
      definition,
      backupJob,
      rules,
    };
  } catch (error) {
    throw asDomainError(error, uuid);
  }
}

/** Translates libvirt's errors into those that the node's callers know. */
export function asDomainError(error: unknown, uuid: string): unknown {
  if (error instanceof ToolError && error.code === 'tool_missing') return toolMissing(error);
  if (!(error instanceof LibvirtError)) return error;
  if (error.code === 'domain_not_found') {
    return new DomainError('not_found', 'vm_not_found', `libvirt has no domain ${uuid}.`, { source_ref: uuid });
  }
  if (error.code === 'libvirt_unreachable' || error.code === 'libvirt_silent') {
    return new DomainError('unavailable', 'libvirt_unavailable', `libvirt does not answer: ${error.message}`, { source_ref: uuid });
  }
  if (error.code === 'client_killed') {
    const hint =
      "Nothing was refused: another process on the node killed the tool, twice. Look for the out-of-memory killer in the kernel's log, and try again.";
    return new DomainError('unavailable', 'tool_killed', `${error.message} ${hint}`, { source_ref: uuid, tool: 'virsh' });
  }
  return new DomainError('unavailable', 'libvirt_refused', `libvirt: ${error.message}`, { source_ref: uuid });
}

async function volumePathOrNull(virsh: Virsh, { volume }: DomainDisk): Promise<string | null> {
  if (volume === null) return null;
  try {
    return await virsh.volumePath(volume.pool, volume.name);
  } catch (error) {
    if (error instanceof LibvirtError && error.code === 'libvirt_refused') return null;
    throw error;
  }
}

async function inspectLiveDisk(disk: DomainDisk, path: string, { checkpoints, capacities }: DomainInspection, rules: ChainRules): Promise<InspectedDisk> {
  const format = formatOf(disk);
  if (format === null) return unusableFormat(disk, path);
  // The running qemu's state is newer than the file; bitmap names in the file only show what an earlier run left.
  const stored = ownBitmaps(format === 'qcow2' ? ((await readChain(path, rules))[0]?.info ?? null) : null);
  const backingPaths = disk.backing.map((parent) => parent.path);
  const known = checkpoints.map(({ described }) => described);
  const sizeBytes = capacities.get(disk.target) ?? 0;
  if (sizeBytes === 0) return unusable(disk, path, `libvirt does not know the size of disk "${disk.target}".`);
  const usable = checkpoints.flatMap(({ described, measured }) => {
    const inUse = measured?.disks.find(({ target }) => target === disk.target);
    return inUse !== undefined && inUse.changedBytes !== null && !wasAnotherDisk(described, disk, path, backingPaths) ? [described.name] : [];
  });
  const problems: ChangeIdProblem[] = [];
  for (const checkpoint of known) {
    if (!usable.includes(checkpoint.name)) problems.push(...(await problemOf(checkpoint, disk, path, backingPaths, stored, rules)));
  }
  problems.push(...forgotten(disk, stored, known));
  return {
    target: disk.target,
    path,
    format,
    tracking: format === 'qcow2',
    sizeBytes,
    changeIds: usable,
    changeIdProblems: problems,
    storedBitmaps: stored.map(({ name }) => name),
    problem: null,
  };
}

async function inspectOfflineDisk(disk: DomainDisk, path: string, inspection: DomainInspection, rules: ChainRules, qemuImg: QemuImg): Promise<InspectedDisk> {
  const format = formatOf(disk);
  if (format === null) return unusableFormat(disk, path);
  try {
    return await withChain({ path, realPath: await realpath(path) }, format, rules, async (chain) => {
      const { problem } = chain;
      if (problem !== null)
        return { ...unusable(disk, path, ''), format, problem: { code: problem.code, detail: `Disk "${disk.target}" (${path}): ${problem.detail}` } };
      return describeOffline(disk, path, inspection, rules, chain, await lookInto(chain, 'try', qemuImg));
    });
  } catch (error) {
    if ((error instanceof ToolError && error.code === 'tool_missing') || error instanceof LibvirtError) throw error;
    return unusable(disk, path, `Disk "${disk.target}" cannot be read: ${messageOf(error)}`);
  }
}

async function describeOffline(
  disk: DomainDisk,
  path: string,
  { checkpoints }: DomainInspection,
  rules: ChainRules,
  chain: DiskChain,
  { info, locked }: Awaited<ReturnType<typeof lookInto>>,
): Promise<InspectedDisk> {
  const known = checkpoints.map(({ described }) => described);
  const inBacking = new Set(chain.parents.flatMap((parent) => ownBitmaps(parent.info).map(({ name }) => name)));
  const stored = ownBitmaps(info);
  const backingPaths = chain.parents.map((parent) => parent.path);
  const changeIds: string[] = [];
  const problems: ChangeIdProblem[] = [];
  for (const checkpoint of known) {
    const bitmap = stored.find(({ name }) => name === checkpoint.disks.find(({ target }) => target === disk.target)?.bitmap);
    const tells = bitmap !== undefined && isSound(bitmap) && !wasAnotherDisk(checkpoint, disk, path, backingPaths);
    if (tells && !inBacking.has(bitmap.name)) changeIds.push(checkpoint.name);
    else if (tells) {
      const detail = `The changes of disk "${disk.target}" since the last backup are spread over the files of a snapshot, which can be combined only while the VM is running.`;
      problems.push({ change_id: checkpoint.name, code: 'snapshot_changed', detail });
    } else problems.push(...(await problemOf(checkpoint, disk, path, backingPaths, stored, rules)));
  }
  problems.push(...forgotten(disk, stored, known));
  return {
    target: disk.target,
    path,
    format: chain.top.format,
    tracking: chain.top.tracking,
    sizeBytes: info?.virtual_size ?? chain.top.file.sizeBytes,
    changeIds,
    changeIdProblems: problems,
    storedBitmaps: stored.map(({ name }) => name),
    problem: locked
      ? { code: 'disk_in_use', detail: `Disk "${disk.target}" (${path}) is open in another program although the VM is off. End that program.` }
      : info?.corrupt === true
        ? { code: 'disk_corrupt', detail: `Disk "${disk.target}" is marked corrupt. Repair it with qemu-img check -r.` }
        : null,
  };
}

/**
 * Whether the disk now under this target was under another one when the checkpoint was made. All disks of a checkpoint have bitmaps of the same name, so the
 * bitmap exists and is sound, but describes the changes of the other disk.
 */
function wasAnotherDisk(checkpoint: CheckpointDescription, disk: DomainDisk, path: string, backingPaths: readonly string[]): boolean {
  const now = [path, ...backingPaths];
  return (checkpoint.domain?.disks ?? []).some(({ target, path: then, volume: volumeThen }) => {
    if (target === disk.target) return false;
    const sameVolume = volumeThen !== null && disk.volume !== null && volumeThen.pool === disk.volume.pool && volumeThen.name === disk.volume.name;
    return sameVolume || (then !== null && now.includes(then));
  });
}

/** Why a checkpoint no longer describes a disk. A checkpoint that never covered the disk has no problem. */
async function problemOf(
  checkpoint: CheckpointDescription,
  disk: DomainDisk,
  path: string,
  backingPaths: readonly string[],
  stored: readonly ImageBitmap[],
  rules: ChainRules,
): Promise<readonly ChangeIdProblem[]> {
  const covered = checkpoint.disks.find(({ target }) => target === disk.target);
  if (covered === undefined) return [];
  const because = (code: ChangeIdProblem['code'], detail: string): readonly ChangeIdProblem[] => [{ change_id: checkpoint.name, code, detail }];
  const pathThen = checkpoint.domain?.disks.find(({ target }) => target === disk.target)?.path ?? null;
  if (pathThen !== null && pathThen !== path) {
    const thenStandsOn = (await readChain(pathThen, rules)).map((member) => member.path);
    return backingPaths.includes(pathThen) || thenStandsOn.includes(path)
      ? because(
          'snapshot_changed',
          `Disk "${disk.target}" was ${pathThen} at the last backup and is ${path} now, because of a snapshot that was created or reverted.`,
        )
      : because('disk_replaced', `Disk "${disk.target}" was ${pathThen} at the last backup and is ${path} now.`);
  }
  if (stored.some((bitmap) => bitmap.name === covered.bitmap)) {
    return because('change_id_broken', `The record of changes of disk "${disk.target}" is inconsistent, because the VM did not end cleanly.`);
  }
  return because(
    'change_id_lost',
    `The record of changes of disk "${disk.target}" is gone: the VM did not end cleanly, or ${path} was replaced by another file or modified by another program.`,
  );
}

/** Bitmaps whose checkpoint libvirt does not know. */
function forgotten(disk: DomainDisk, stored: readonly ImageBitmap[], known: readonly CheckpointDescription[]): readonly ChangeIdProblem[] {
  return stored
    .filter(({ name }) => !known.some((checkpoint) => checkpoint.disks.some(({ target, bitmap }) => target === disk.target && bitmap === name)))
    .map(({ name }) => ({
      change_id: name,
      code: 'checkpoint_lost',
      detail: `libvirt has forgotten the checkpoint of disk "${disk.target}": the VM was redefined, or another program deleted the checkpoint.`,
    }));
}

/** `auto`: it records every write; `in-use`: it was not closed cleanly. */
function isSound(bitmap: ImageBitmap): boolean {
  return bitmap.flags.includes('auto') && !bitmap.flags.includes('in-use');
}

function ownBitmaps(info: ImageInfo | null): readonly ImageBitmap[] {
  return (info?.bitmaps ?? []).filter(({ name }) => name.startsWith(OWN_PREFIX));
}

/**
 * Headers of a QCOW2 file and its backing files, as far as they may be read; empty if they cannot be read. Uses no tool, because a running qemu may have them
 * open.
 */
async function readChain(path: string, rules: ChainRules): Promise<readonly { readonly path: string; readonly info: ImageInfo | null }[]> {
  try {
    return await withChain({ path, realPath: await realpath(path) }, 'qcow2', rules, ({ top, parents }) =>
      Promise.resolve([top, ...parents].map((member) => ({ path: member.path, info: member.info }))),
    );
  } catch (error) {
    if (error instanceof NotThisFileError || errnoOf(error) !== null) return [];
    throw error;
  }
}

function formatOf(disk: DomainDisk): 'qcow2' | 'raw' | null {
  return disk.format === 'qcow2' || disk.format === 'raw' ? disk.format : null;
}

function unusableFormat(disk: DomainDisk, path: string): InspectedDisk {
  const detail = `Disk "${disk.target}" has format "${disk.format}"; only qcow2 and raw can be backed up.`;
  return { ...unusable(disk, path, detail), problem: { code: 'format_unsupported', detail } };
}

function unusable(disk: DomainDisk, path: string, detail: string): InspectedDisk {
  return {
    target: disk.target,
    path,
    format: 'raw',
    tracking: false,
    sizeBytes: 0,
    changeIds: [],
    changeIdProblems: [],
    storedBitmaps: [],
    problem: { code: 'disk_unreadable', detail },
  };
}
