import { blocksOf, DIGEST_BLOCK_BYTES, type DigestList } from '../hashing/block-digests.js';
import { listOf, matching, type Members, object, oneOf, orNull, text, time, wholeNumber, wrong, WrongShapeError } from '../../lib/json-shape/json-shape.js';

export const MANIFEST_FILE = 'manifest.json';
export const SIGNATURE_FILE = 'manifest.json.sig';
/** The version that this program writes; it also reads version 1. */
export const MANIFEST_FORMAT_VERSION = 2;
/** Far more than a VM's definition and a thousand disks need. */
export const MAX_MANIFEST_BYTES = 16 * 1024 * 1024;

/** The digests of a disk file's blocks, in a file of their own: 32 bytes a block. */
export type ManifestBlocks = DigestList & {
  /** Name of that file in the restore point's folder. */
  readonly file: string;
  readonly block_bytes: typeof DIGEST_BLOCK_BYTES;
};

export type ManifestDisk = {
  /** From 0, in the order of the source. */
  readonly disk_id: number;
  readonly disk_key: string;
  /** Name of the QCOW2 file in the restore point's folder. */
  readonly file: string;
  readonly virtual_size_bytes: number;
  readonly source_format: string;
  /** Identifies "everything since this restore point's instant" at the source; null when the source cannot track changes. */
  readonly change_id: string | null;
  /** The change id from which the disk's changes were copied; null when the disk is complete: in a full, and when it was added after the parent. */
  readonly parent_change_id: string | null;
  /** Length of the QCOW2 file in bytes. */
  readonly file_size_bytes: number;
  /** SHA-256 of the whole QCOW2 file, lower-case hex. */
  readonly sha256: string;
  /** Modification time of the QCOW2 file when it was sealed, nanoseconds since 1970, decimal. */
  readonly mtime_ns: string;
  /** Parent's QCOW2 file relative to the restore point's folder, as in the QCOW2 header; null if and only if parent_change_id is null. */
  readonly backing_file: string | null;
  /** null in format 1. */
  readonly blocks: ManifestBlocks | null;
  /** Compression of the clusters in the QCOW2 file; null: none. */
  readonly compression: string | null;
};

/** flatten: the restore point becomes a full; absorb: it takes in the changes of the restore points between it and its new parent. */
export type RewriteOperation = 'flatten' | 'absorb';

export type FileIdentity = { readonly sha256: string; readonly file_size_bytes: number };

/** A finished rewriting of a restore point's files. Its content is the same before and after. */
export type RewriteRecord = {
  readonly operation: RewriteOperation;
  readonly at: string;
  /** The restore points that this one no longer depends on, because it contains their data now. Newest first. */
  readonly merged: readonly string[];
  readonly disks: readonly { readonly file: string; readonly before: FileIdentity; readonly after: FileIdentity }[];
};

/** A rewriting whose files are being replaced: each file is either the one of `disks` or the one described here. */
export type Rewriting = {
  readonly operation: RewriteOperation;
  readonly at: string;
  readonly merged: readonly string[];
  /** As in the finished manifest. */
  readonly parent: Manifest['parent'];
  /** The entries of the rewritten disks, as in the finished manifest. Their backing_file differs from the one before. */
  readonly disks: readonly ManifestDisk[];
};

/** `manifest.json` of a restore point, as described in docs/repository-format.md. */
export type Manifest = {
  readonly format_version: 1 | typeof MANIFEST_FORMAT_VERSION;
  readonly hub_id: string;
  readonly repository_id: string;
  readonly backup_id: string;
  readonly backup_type: 'full' | 'incremental';
  /** Set if and only if backup_type is full. */
  readonly full_reason: string | null;
  readonly chain_id: string;
  /** Set if and only if backup_type is incremental; `folder` is relative to the repository. */
  readonly parent: { readonly backup_id: string; readonly folder: string } | null;
  readonly vm: {
    readonly vm_id: string;
    readonly name: string;
    readonly source: string;
    readonly source_ref: string;
    readonly node_id: string;
  };
  /** The single instant of all disks, by the node's clock. ISO 8601, UTC, like the other times. */
  readonly instant: string;
  readonly started_at: string;
  readonly sealed_at: string;
  readonly disks: readonly ManifestDisk[];
  /** The hypervisor's description of the VM, for recreating it; null when there was none, and in manifests of earlier programs. */
  readonly definition: { readonly format: 'libvirt-domain-xml'; readonly text: string } | null;
  /** Position of the hub's event store when the restore point was sealed; opaque. */
  readonly event_position: string;
  /** Newest checkpoint of the hub's ledger at sealing, a signed note; null if there was none, and in manifests of earlier programs. */
  readonly ledger_checkpoint: string | null;
  /** The verifier key (C2SP signed-note) of the hub, whose signature is in `manifest.json.sig`; null in format 1. */
  readonly signing_key: string | null;
  /** null: the files are not encrypted. */
  readonly encryption: null;
  /** The programs that have written the restore point; null in format 1. */
  readonly tools: { readonly sendense: string; readonly qemu_img: string } | null;
  /** Tiers of retention that it was given at sealing. */
  readonly tiers: readonly string[];
  /** Until when it must not be removed, as known at sealing; null: not locked. */
  readonly locked_until: string | null;
  /** Finished rewritings, oldest first; absent or empty: none. */
  readonly rewrites?: readonly RewriteRecord[];
  /** Set only while files are replaced. */
  readonly rewriting?: Rewriting;
};

/** The exact text of manifest.json that is signed and hashed. @throws WrongShapeError if this program could not read it */
export function manifestText(manifest: Manifest): string {
  const json = `${JSON.stringify(manifest, null, 2)}\n`;
  parseManifest(json);
  return json;
}

/**
 * Name of the file with the digests of a disk file's blocks.
 * @param content SHA-256 of a file that takes the place of a sealed one: while both are there, their lists have different names
 */
export function blocksFileOf(file: string, content: string | null = null): string {
  return content === null ? `${file}.sha256-4m` : `${file}.${content.slice(0, 8)}.sha256-4m`;
}

const fileName = matching(/^(?!\.{1,2}$)[^/\0]+$/, 'a file name without a slash');
const sha256 = matching(/^[0-9a-f]{64}$/, '64 lower-case hex digits');
const nanoseconds = matching(/^\d{1,20}$/, 'decimal digits');

/**
 * Parses the text of a manifest.json; unknown members are ignored.
 * @throws WrongShapeError that names the member and the problem
 */
export function parseManifest(json: string): Manifest {
  let document: unknown;
  try {
    document = JSON.parse(json);
  } catch {
    // A parser's message quotes its input, which may be anything.
    throw new WrongShapeError('it is not JSON');
  }
  const root = object(document, 'the document');
  const version = root['format_version'];
  if (version !== 1 && version !== MANIFEST_FORMAT_VERSION) {
    throw wrong('format_version', `1 or ${MANIFEST_FORMAT_VERSION}, the versions that this program reads`, version);
  }
  const parseDiskOfVersion = version === 1 ? parseDisk : parseDiskWithBlocks;
  const vm = object(root['vm'], 'vm');
  const manifest: Manifest = {
    format_version: version,
    hub_id: text(root['hub_id'], 'hub_id'),
    repository_id: text(root['repository_id'], 'repository_id'),
    backup_id: text(root['backup_id'], 'backup_id'),
    backup_type: oneOf('full', 'incremental')(root['backup_type'], 'backup_type'),
    full_reason: orNull(text)(root['full_reason'], 'full_reason'),
    chain_id: text(root['chain_id'], 'chain_id'),
    parent: orNull(parseParent)(root['parent'], 'parent'),
    vm: {
      vm_id: text(vm['vm_id'], 'vm.vm_id'),
      name: text(vm['name'], 'vm.name'),
      source: text(vm['source'], 'vm.source'),
      source_ref: text(vm['source_ref'], 'vm.source_ref'),
      node_id: text(vm['node_id'], 'vm.node_id'),
    },
    instant: time(root['instant'], 'instant'),
    started_at: time(root['started_at'], 'started_at'),
    sealed_at: time(root['sealed_at'], 'sealed_at'),
    disks: listOf(parseDiskOfVersion)(root['disks'], 'disks'),
    definition: orNull(parseDefinition)(root['definition'] ?? null, 'definition'),
    event_position: text(root['event_position'], 'event_position'),
    ledger_checkpoint: orNull(text)(root['ledger_checkpoint'] ?? null, 'ledger_checkpoint'),
    ...(version === 1 ? WITHOUT_VERSION_2 : parseVersion2(root)),
    ...(root['rewrites'] === undefined ? {} : { rewrites: listOf(parseRewrite)(root['rewrites'], 'rewrites') }),
    ...(root['rewriting'] === undefined ? {} : { rewriting: parseRewriting(parseDiskOfVersion)(root['rewriting'], 'rewriting') }),
  };
  const isFull = manifest.backup_type === 'full';
  if (isFull !== (manifest.parent === null)) throw wrong('parent', `set exactly for incrementals (this is: ${manifest.backup_type})`, manifest.parent);
  if (isFull !== (manifest.full_reason !== null)) throw wrong('full_reason', `set exactly for fulls (this is: ${manifest.backup_type})`, manifest.full_reason);
  if (manifest.disks.length === 0) throw wrong('disks', 'at least one disk', manifest.disks);
  manifest.disks.forEach((disk, index) => {
    if (isFull && disk.backing_file !== null) throw wrong(`disks[${index}].backing_file`, 'null in a full', disk.backing_file);
    if ((disk.backing_file === null) !== (disk.parent_change_id === null)) {
      throw wrong(`disks[${index}].backing_file`, `set exactly with parent_change_id (that is: ${disk.parent_change_id ?? 'null'})`, disk.backing_file);
    }
  });
  if (!isFull && manifest.disks.every((disk) => disk.backing_file === null)) {
    throw wrong('disks', 'at least one disk with a backing_file in an incremental', []);
  }
  for (const [index, after] of (manifest.rewriting?.disks ?? []).entries()) {
    const before = manifest.disks.find(({ file }) => file === after.file);
    if (before === undefined || before.backing_file === after.backing_file) {
      throw wrong(`rewriting.disks[${index}]`, 'a file of disks, with another backing_file', after.file);
    }
  }
  const entries = [...manifest.disks, ...(manifest.rewriting?.disks ?? [])];
  const named = [...manifest.disks.map(({ file }) => file), ...entries.flatMap(({ blocks }) => (blocks === null ? [] : [blocks.file]))];
  if (new Set([MANIFEST_FILE, SIGNATURE_FILE, ...named]).size !== named.length + 2) throw new WrongShapeError('disks[].file names a file twice');
  return manifest;
}

const WITHOUT_VERSION_2 = { signing_key: null, encryption: null, tools: null, tiers: [], locked_until: null } as const;

function parseVersion2(root: Members): Pick<Manifest, keyof typeof WITHOUT_VERSION_2> {
  // Its files could not be read, so nothing may be based on them.
  if (root['encryption'] !== null) throw wrong('encryption', 'null: this program reads no encrypted files', root['encryption']);
  const tools = object(root['tools'], 'tools');
  return {
    signing_key: text(root['signing_key'], 'signing_key'),
    encryption: null,
    tools: { sendense: text(tools['sendense'], 'tools.sendense'), qemu_img: text(tools['qemu_img'], 'tools.qemu_img') },
    tiers: listOf(text)(root['tiers'], 'tiers'),
    locked_until: orNull(time)(root['locked_until'], 'locked_until'),
  };
}

function parseParent(value: unknown, where: string): NonNullable<Manifest['parent']> {
  const parent = object(value, where);
  return { backup_id: text(parent['backup_id'], `${where}.backup_id`), folder: text(parent['folder'], `${where}.folder`) };
}

function parseDefinition(value: unknown, where: string): NonNullable<Manifest['definition']> {
  const definition = object(value, where);
  return { format: oneOf('libvirt-domain-xml')(definition['format'], `${where}.format`), text: text(definition['text'], `${where}.text`) };
}

function parseDisk(value: unknown, where: string): ManifestDisk {
  const disk = object(value, where);
  return {
    disk_id: wholeNumber(disk['disk_id'], `${where}.disk_id`),
    disk_key: text(disk['disk_key'], `${where}.disk_key`),
    file: fileName(disk['file'], `${where}.file`),
    virtual_size_bytes: wholeNumber(disk['virtual_size_bytes'], `${where}.virtual_size_bytes`),
    source_format: text(disk['source_format'], `${where}.source_format`),
    change_id: orNull(text)(disk['change_id'], `${where}.change_id`),
    parent_change_id: orNull(text)(disk['parent_change_id'], `${where}.parent_change_id`),
    file_size_bytes: wholeNumber(disk['file_size_bytes'], `${where}.file_size_bytes`),
    sha256: sha256(disk['sha256'], `${where}.sha256`),
    mtime_ns: nanoseconds(disk['mtime_ns'], `${where}.mtime_ns`),
    backing_file: orNull(text)(disk['backing_file'], `${where}.backing_file`),
    blocks: null,
    compression: null,
  };
}

function parseDiskWithBlocks(value: unknown, where: string): ManifestDisk {
  const disk = parseDisk(value, where);
  const members = object(value, where);
  const blocks = object(members['blocks'], `${where}.blocks`);
  const expected = blocksOf(disk.file_size_bytes);
  if (blocks['block_bytes'] !== DIGEST_BLOCK_BYTES) throw wrong(`${where}.blocks.block_bytes`, `${DIGEST_BLOCK_BYTES}`, blocks['block_bytes']);
  if (blocks['count'] !== expected) throw wrong(`${where}.blocks.count`, `${expected}, as the file's length says`, blocks['count']);
  return {
    ...disk,
    blocks: {
      file: fileName(blocks['file'], `${where}.blocks.file`),
      block_bytes: DIGEST_BLOCK_BYTES,
      count: expected,
      root: sha256(blocks['root'], `${where}.blocks.root`),
    },
    compression: orNull(text)(members['compression'], `${where}.compression`),
  };
}

const operation = oneOf('flatten', 'absorb');

function parseRewrite(value: unknown, where: string): RewriteRecord {
  const record = object(value, where);
  return {
    operation: operation(record['operation'], `${where}.operation`),
    at: time(record['at'], `${where}.at`),
    merged: listOf(text)(record['merged'], `${where}.merged`),
    disks: listOf((each, at) => {
      const disk = object(each, at);
      return {
        file: fileName(disk['file'], `${at}.file`),
        before: parseIdentity(disk['before'], `${at}.before`),
        after: parseIdentity(disk['after'], `${at}.after`),
      };
    })(record['disks'], `${where}.disks`),
  };
}

function parseIdentity(value: unknown, where: string): FileIdentity {
  const file = object(value, where);
  return { sha256: sha256(file['sha256'], `${where}.sha256`), file_size_bytes: wholeNumber(file['file_size_bytes'], `${where}.file_size_bytes`) };
}

function parseRewriting(parseEntry: typeof parseDisk): (value: unknown, where: string) => Rewriting {
  return (value, where) => {
    const rewriting = object(value, where);
    return {
      operation: operation(rewriting['operation'], `${where}.operation`),
      at: time(rewriting['at'], `${where}.at`),
      merged: listOf(text)(rewriting['merged'], `${where}.merged`),
      parent: orNull(parseParent)(rewriting['parent'], `${where}.parent`),
      disks: listOf(parseEntry)(rewriting['disks'], `${where}.disks`),
    };
  };
}
