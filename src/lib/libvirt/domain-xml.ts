import { XMLParser } from 'fast-xml-parser';

/** A `<disk>` of a domain, as far as backups care. */
export interface DomainDisk {
  /** `vda`: what the guest's device is called in the domain; unique and stable. */
  readonly target: string;
  /** `disk`, `cdrom`, `floppy`, `lun`. */
  readonly device: string;
  /** `file`, `block`, `network`, `volume`, `nvme`, `vhostuser`, `vhostvdpa`, `dir`. */
  readonly type: string;
  /** Of its driver; `raw` where none is named, as libvirt takes it. */
  readonly format: string;
  /** File or device; null for other types, and for a drive without a medium. */
  readonly path: string | null;
  readonly volume: { readonly pool: string; readonly name: string } | null;
  readonly readOnly: boolean;
  readonly shareable: boolean;
  readonly transient: boolean;
  /** Files and devices under it, nearest first; of a domain that is off only where its definition names them. */
  readonly backing: readonly { readonly path: string; /** null: not named. */ readonly format: string | null }[];
}

/** A domain as `virsh dumpxml` prints it. */
export interface DomainDescription {
  readonly name: string;
  /** Lower case. */
  readonly uuid: string;
  /** It has a qemu just now; always false in what `--inactive` prints. */
  readonly active: boolean;
  /** A guest agent could be asked, if the guest runs one. */
  readonly hasAgentChannel: boolean;
  /** In the order of the document. */
  readonly disks: readonly DomainDisk[];
}

/** What libvirt keeps of a checkpoint. */
export interface CheckpointDescription {
  readonly name: string;
  readonly parent: string | null;
  /** With bitmaps only. */
  readonly disks: readonly {
    readonly target: string;
    readonly bitmap: string;
    /** Bytes that have changed since; null: not asked for, or the bitmap is missing, broken or not of this disk. */
    readonly changedBytes: number | null;
  }[];
  /** The domain as it was when the checkpoint was made; null where it was not asked for. */
  readonly domain: DomainDescription | null;
}

/** By which libvirt knows the channel to the guest agent (https://libvirt.org/formatdomain.html#channel). */
export const AGENT_CHANNEL = 'org.qemu.guest_agent.0';

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '',
  attributesGroupName: '$',
  parseTagValue: false,
  parseAttributeValue: false,
  // The text of elements such as <name> may begin or end with a space.
  trimValues: false,
  isArray: (name) => name === 'disk' || name === 'channel',
});

type Element = Readonly<Record<string, unknown>>;

/** @throws Error when it is not a domain's XML */
export function parseDomain(xml: string): DomainDescription {
  return domainOf(elementIn(parsed(xml), 'domain'));
}

/** @throws Error when it is not a checkpoint's XML */
export function parseCheckpoint(xml: string): CheckpointDescription {
  const checkpoint = elementIn(parsed(xml), 'domaincheckpoint');
  const parent = optionalElement(checkpoint, 'parent');
  const domain = optionalElement(checkpoint, 'domain');
  return {
    name: textOf(checkpoint, 'name') ?? '',
    parent: parent === null ? null : textOf(parent, 'name'),
    disks: listOf(optionalElement(checkpoint, 'disks'), 'disk').flatMap((disk) => {
      const target = attribute(disk, 'name');
      const bitmap = attribute(disk, 'bitmap');
      if (target === null || bitmap === null || attribute(disk, 'checkpoint') !== 'bitmap') return [];
      const size = attribute(disk, 'size');
      return [{ target, bitmap, changedBytes: size === null ? null : Number(size) }];
    }),
    domain: domain === null ? null : domainOf(domain),
  };
}

/** The domain as it was when a snapshot of it was made; null where libvirt has not kept that. @throws Error when it is not a snapshot's XML */
export function parseSnapshotDomain(xml: string): DomainDescription | null {
  const domain = optionalElement(elementIn(parsed(xml), 'domainsnapshot'), 'domain');
  return domain === null ? null : domainOf(domain);
}

/** The socket that a backup job's NBD server listens on; null for one on a port. @throws Error when it is not a backup's XML */
export function parseBackupSocket(xml: string): string | null {
  const server = optionalElement(elementIn(parsed(xml), 'domainbackup'), 'server');
  return server === null ? null : attribute(server, 'socket');
}

/** For text and attribute values. @throws Error for characters that XML cannot hold */
export function xmlText(value: string): string {
  // eslint-disable-next-line no-control-regex -- XML 1.0 has no way to write these
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/.test(value)) throw new Error(`${JSON.stringify(value)} cannot be written as XML`);
  return value.replace(/[&<>"'\t\n\r]/g, (character) => `&#${character.charCodeAt(0)};`);
}

function domainOf(domain: Element): DomainDescription {
  return {
    name: textOf(domain, 'name') ?? '',
    uuid: (textOf(domain, 'uuid') ?? '').toLowerCase(),
    active: attribute(domain, 'id') !== null,
    hasAgentChannel: listOf(optionalElement(domain, 'devices'), 'channel').some((channel) => {
      const target = optionalElement(channel, 'target');
      return target !== null && attribute(target, 'name') === AGENT_CHANNEL;
    }),
    disks: listOf(optionalElement(domain, 'devices'), 'disk').flatMap(diskOf),
  };
}

function diskOf(disk: Element): readonly DomainDisk[] {
  const target = optionalElement(disk, 'target');
  const name = target === null ? null : attribute(target, 'dev');
  if (name === null) return [];
  const source = optionalElement(disk, 'source');
  const driver = optionalElement(disk, 'driver');
  const type = attribute(disk, 'type') ?? 'file';
  const pool = source === null ? null : attribute(source, 'pool');
  const volume = source === null ? null : attribute(source, 'volume');
  return [
    {
      target: name,
      device: attribute(disk, 'device') ?? 'disk',
      type,
      format: (driver === null ? null : attribute(driver, 'type')) ?? 'raw',
      path: source === null ? null : type === 'file' ? attribute(source, 'file') : type === 'block' ? attribute(source, 'dev') : null,
      volume: pool === null || volume === null ? null : { pool, name: volume },
      readOnly: 'readonly' in disk,
      shareable: 'shareable' in disk,
      transient: 'transient' in disk,
      backing: backingOf(disk),
    },
  ];
}

function backingOf(disk: Element): DomainDisk['backing'] {
  const found: DomainDisk['backing'][number][] = [];
  for (let store = optionalElement(disk, 'backingStore'); store !== null; store = optionalElement(store, 'backingStore')) {
    const source = optionalElement(store, 'source');
    const path = source === null ? null : (attribute(source, 'file') ?? attribute(source, 'dev'));
    const format = optionalElement(store, 'format');
    if (path !== null) found.push({ path, format: format === null ? null : attribute(format, 'type') });
  }
  return found;
}

function parsed(xml: string): Element {
  const document: unknown = parser.parse(xml);
  if (!isElement(document)) throw new Error('libvirt answered with something that is not XML');
  return document;
}

function elementIn(parent: Element, name: string): Element {
  const found = optionalElement(parent, name);
  if (found === null) throw new Error(`libvirt answered with XML that has no <${name}>`);
  return found;
}

function optionalElement(parent: Element, name: string): Element | null {
  const found = parent[name];
  return isElement(found) ? found : null;
}

function listOf(parent: Element | null, name: string): readonly Element[] {
  const found = parent?.[name];
  return Array.isArray(found) ? found.filter(isElement) : [];
}

/** An element with attributes has its text beside them. */
function textOf(parent: Element, name: string): string | null {
  const found = parent[name];
  const text = isElement(found) ? found['#text'] : found;
  return typeof text === 'string' ? text : null;
}

function attribute(element: Element, name: string): string | null {
  const attributes = element['$'];
  const value = isElement(attributes) ? attributes[name] : undefined;
  return typeof value === 'string' ? value : null;
}

function isElement(value: unknown): value is Element {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
