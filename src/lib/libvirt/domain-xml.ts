import { XMLParser } from 'fast-xml-parser';

/** The parts of a domain's `<disk>` that matter for backups. */
export interface DomainDisk {
  /** `vda`: the guest device's name in the domain; unique and stable. */
  readonly target: string;
  /** `disk`, `cdrom`, `floppy`, `lun`. */
  readonly device: string;
  /** `file`, `block`, `network`, `volume`, `nvme`, `vhostuser`, `vhostvdpa`, `dir`. */
  readonly type: string;
  /** Of its driver; `raw` when none is named, as in libvirt. */
  readonly format: string;
  /** File or device; null for other types, and for a drive without a medium. */
  readonly path: string | null;
  readonly volume: { readonly pool: string; readonly name: string } | null;
  readonly readOnly: boolean;
  readonly shareable: boolean;
  readonly transient: boolean;
  /** Backing files and devices, nearest first; for an inactive domain only those named in its definition. */
  readonly backing: readonly { readonly path: string; /** null: not named. */ readonly format: string | null }[];
}

/** A domain as `virsh dumpxml` prints it. */
export interface DomainDescription {
  readonly name: string;
  /** Lower case. */
  readonly uuid: string;
  /** It has a running qemu; always false with `--inactive`. */
  readonly active: boolean;
  /** There is a channel for a guest agent, if the guest runs one. */
  readonly hasAgentChannel: boolean;
  /** In the order of the document. */
  readonly disks: readonly DomainDisk[];
}

/** A checkpoint as libvirt describes it. */
export interface CheckpointDescription {
  readonly name: string;
  readonly parent: string | null;
  /** Only disks with bitmaps. */
  readonly disks: readonly {
    readonly target: string;
    readonly bitmap: string;
    /** Bytes changed since; null: not requested, or the bitmap is missing, broken or not of this disk. */
    readonly changedBytes: number | null;
  }[];
  /** The domain at the time of the checkpoint; null: not requested. */
  readonly domain: DomainDescription | null;
}

/** The name that libvirt uses for the guest agent's channel (https://libvirt.org/formatdomain.html#channel). */
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

/** @throws Error when it is not domain XML */
export function parseDomain(xml: string): DomainDescription {
  return domainOf(elementIn(parsed(xml), 'domain'));
}

/** @throws Error when it is not checkpoint XML */
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

/** The domain at the time of a snapshot; null when libvirt has not kept it. @throws Error when it is not snapshot XML */
export function parseSnapshotDomain(xml: string): DomainDescription | null {
  const domain = optionalElement(elementIn(parsed(xml), 'domainsnapshot'), 'domain');
  return domain === null ? null : domainOf(domain);
}

/** The Unix socket of a backup job's NBD server; null when it listens on a port. @throws Error when it is not backup XML */
export function parseBackupSocket(xml: string): string | null {
  const server = optionalElement(elementIn(parsed(xml), 'domainbackup'), 'server');
  return server === null ? null : attribute(server, 'socket');
}

/** Escapes text and attribute values. @throws Error for characters that XML cannot represent */
export function xmlText(value: string): string {
  // oxlint-disable-next-line no-control-regex -- XML 1.0 has no way to write these
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

/** The parser puts the text of an element with attributes into a member next to them. */
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
