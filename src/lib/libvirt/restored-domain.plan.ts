import { WrongShapeError } from '../json-shape/json-shape.js';
import { allowedDomain, type Dropped } from './domain-allow-list.plan.js';
import { AGENT_CHANNEL } from './domain-xml.js';
import { childOf, childrenOf, element, parseXml, textOf, writeXml, type XmlElement } from './xml-element.js';

/** Namespace of our element in a domain's metadata. */
export const SENDENSE_NAMESPACE = 'https://sendense.io/xmlns/libvirt/1';

/** Location of a restored disk's content. */
export type RestoredDisk =
  | { readonly kind: 'file'; readonly path: string }
  /** Raw content over NBD, on a Unix socket of the hypervisor's host. */
  | { readonly kind: 'nbd'; readonly socket: string; readonly exportName: string };

/** Network interfaces of a restored domain: unchanged, with their links down, or removed. */
export type RestoredNetwork = 'keep' | 'disconnected' | 'none';

export interface RestoredDomain {
  readonly name: string;
  readonly uuid: string;
  /** Whether MAC addresses and generation id stay unchanged. */
  readonly keepIdentity: boolean;
  /** Written into the metadata, to identify the job that owns the domain. */
  readonly jobId: string;
  /** By target device name, e.g. `vda`. */
  readonly disks: ReadonlyMap<string, RestoredDisk>;
  readonly network: RestoredNetwork;
  /** Attach every interface to this libvirt network instead of its own; null: leave it unchanged. */
  readonly libvirtNetwork: string | null;
}

/** A domain that exists only to check whether its disks boot. */
export interface CheckedDomain {
  readonly name: string;
  readonly uuid: string;
  readonly jobId: string;
  readonly disks: ReadonlyMap<string, RestoredDisk>;
  /** Unix socket on which qemu serves the serial console. */
  readonly consoleSocket: string;
  /** null: the VM's own memory size. */
  readonly memoryMib: number | null;
}

/** A part of the definition that could not be kept. The code is stable. */
export interface DefinitionChange {
  readonly code:
    | 'disk_left_out'
    | 'medium_removed'
    | 'host_device_removed'
    | 'host_path_removed'
    | 'nvram_new'
    | 'tpm_state_new'
    | 'encryption_removed'
    | 'interface_removed'
    | 'port_automatic'
    | Dropped['code'];
  readonly detail: string;
}

export interface RewrittenDefinition {
  readonly xml: string;
  readonly changes: readonly DefinitionChange[];
}

/** How long qemu holds the guest's requests while the server at its socket restarts. */
const SERVER_AWAY_SECONDS = 60;

/** Character device types that need nothing on the host. */
const HOSTLESS = new Set(['pty', 'null', 'vc', 'spicevmc', 'spiceport', 'qemu-vdagent', 'dbus']);

/**
 * Rewrites a VM's definition for a new domain: its own name, uuid and MAC addresses, its disks at their new places, and no reference to anything that only the
 * old host had.
 * @throws WrongShapeError when it is not a domain, or lacks one of the disks
 */
export function restoredDomain(definition: string, wanted: RestoredDomain): RewrittenDefinition {
  const { domain, dropped } = domainOf(definition, wanted.disks);
  const changes: DefinitionChange[] = [...dropped];
  let interfaces = 0;
  const devices = devicesOf(domain).flatMap((device): readonly XmlElement[] => {
    switch (device.name) {
      case 'disk':
        return disk(device, wanted.disks, changes);
      case 'interface':
        return networkInterface(device, interfaces++, wanted, changes);
      case 'graphics':
        return graphics(device, changes);
      case 'serial':
      case 'console':
      case 'parallel':
      case 'channel':
        return characterDevice(device, changes);
      case 'tpm':
        return tpm(device, changes);
      default:
        return [asItIs(device)];
    }
  });
  return { xml: writeXml(assemble(domain, wanted, devices, changes)), changes };
}

/**
 * Rewrites a VM's definition for a short-lived domain without network or display. Its serial console is read through a socket; it has a video device for
 * screenshots and a channel for the guest agent.
 * @throws WrongShapeError as restoredDomain
 */
export function checkedDomain(definition: string, wanted: CheckedDomain): RewrittenDefinition {
  const { domain, dropped } = domainOf(definition, wanted.disks);
  const changes: DefinitionChange[] = [...dropped];
  const kept = devicesOf(domain).flatMap((device): readonly XmlElement[] => {
    switch (device.name) {
      case 'disk':
        return disk(device, wanted.disks, changes);
      case 'interface':
        changes.push({ code: 'interface_removed', detail: `the network interface ${childOf(device, 'mac')?.attributes['address'] ?? ''}`.trim() });
        return [];
      case 'tpm':
        return tpm(device, changes);
      // Unused during a boot check.
      case 'graphics':
      case 'audio':
      case 'sound':
      case 'redirdev':
      case 'watchdog':
      case 'vsock':
      case 'serial':
      case 'console':
      case 'parallel':
      case 'channel':
        return [];
      default:
        return [asItIs(device)];
    }
  });
  const devices = [
    ...kept,
    element('serial', { type: 'unix' }, element('source', { mode: 'bind', path: wanted.consoleSocket }), element('target', { port: '0' })),
    element('channel', { type: 'unix' }, element('target', { type: 'virtio', name: AGENT_CHANNEL })),
    ...(kept.some(({ name }) => name === 'video') ? [] : [element('video', {}, element('model', { type: 'vga' }))]),
  ];
  const assembled = assemble(domain, { ...wanted, keepIdentity: false }, devices, changes);
  const children = assembled.children.flatMap((child): readonly (XmlElement | string)[] => {
    if (typeof child === 'string') return [child];
    switch (child.name) {
      // Specific to the old host, or ways around the isolation.
      case 'cputune':
      case 'numatune':
      case 'memtune':
      case 'blkiotune':
      case 'memoryBacking':
      case 'maxMemory':
        return [];
      case 'on_poweroff':
      case 'on_crash':
        return [element(child.name, {}, 'destroy')];
      case 'memory':
        return wanted.memoryMib === null ? [child] : [element('memory', { unit: 'MiB' }, String(wanted.memoryMib))];
      case 'currentMemory':
        return wanted.memoryMib === null ? [child] : [];
      case 'vcpu':
        return [{ ...child, attributes: without(child.attributes, 'cpuset', 'placement') }];
      default:
        return [child];
    }
  });
  return { xml: writeXml({ ...assembled, children }), changes };
}

/** The name in the definition. @throws WrongShapeError */
export function nameInDefinition(definition: string): string {
  return textOf(childOf(parseXml(definition), 'name'));
}

/** The uuid in the definition; null: none. @throws WrongShapeError */
export function uuidInDefinition(definition: string): string | null {
  const uuid = textOf(childOf(parseXml(definition), 'uuid'))
    .trim()
    .toLowerCase();
  return uuid === '' ? null : uuid;
}

/** The id of the restore or boot check that created the domain with this metadata element; null: another program's domain. */
export function jobIdInMetadata(text: string): string | null {
  try {
    const root = parseXml(text);
    return root.name.replace(/^.*:/, '') === 'restore' ? (root.attributes['job'] ?? null) : null;
  } catch (error) {
    if (error instanceof WrongShapeError) return null;
    throw error;
  }
}

function domainOf(definition: string, disks: ReadonlyMap<string, RestoredDisk>): ReturnType<typeof allowedDomain> {
  const domain = parseXml(definition);
  if (domain.name !== 'domain') throw new WrongShapeError(`the definition is a <${domain.name}>, not a <domain>`);
  const targets = new Set(devicesOf(domain).flatMap((device) => (device.name === 'disk' ? [targetOf(device)] : [])));
  const missing = [...disks.keys()].filter((key) => !targets.has(key));
  if (missing.length > 0) throw new WrongShapeError(`the definition has no disk ${missing.join(', ')}`);
  const allowed = allowedDomain(domain);
  const { type } = allowed.domain.attributes;
  if (type === undefined)
    throw new WrongShapeError(`the definition describes a domain of type "${domain.attributes['type'] ?? ''}"; only kvm and qemu can be restored`);
  return allowed;
}

function devicesOf(domain: XmlElement): readonly XmlElement[] {
  return childrenOf(childOf(domain, 'devices'));
}

function targetOf(device: XmlElement): string {
  return childOf(device, 'target')?.attributes['dev'] ?? '';
}

function assemble(
  domain: XmlElement,
  wanted: Pick<RestoredDomain, 'name' | 'uuid' | 'keepIdentity' | 'jobId'>,
  devices: readonly XmlElement[],
  changes: DefinitionChange[],
): XmlElement {
  const ours = element('sendense:restore', { 'xmlns:sendense': SENDENSE_NAMESPACE, job: wanted.jobId });
  const metadata = childrenOf(childOf(domain, 'metadata')).filter((child) => !Object.values(child.attributes).includes(SENDENSE_NAMESPACE));
  const children = childrenOf(domain).flatMap((child): readonly XmlElement[] => {
    switch (child.name) {
      case 'name':
      case 'uuid':
      case 'metadata':
        return [];
      case 'devices':
        return [{ ...child, children: devices }];
      case 'genid':
        return wanted.keepIdentity ? [child] : [element('genid')];
      case 'sysinfo':
        return [sysinfo(child, wanted.uuid)];
      case 'os':
        return [operatingSystem(child, changes)];
      default:
        return [child];
    }
  });
  return {
    name: domain.name,
    attributes: domain.attributes,
    children: [element('name', {}, wanted.name), element('uuid', {}, wanted.uuid), element('metadata', {}, ...metadata, ours), ...children],
  };
}

/** libvirt refuses a domain whose SMBIOS data has a different uuid. */
function sysinfo(found: XmlElement, uuid: string): XmlElement {
  return {
    ...found,
    children: found.children.map((child) => {
      if (typeof child === 'string') return child;
      if (child.name === 'entry' && child.attributes['name'] === 'uuid') return { ...child, children: [uuid] };
      return sysinfo(child, uuid);
    }),
  };
}

function operatingSystem(os: XmlElement, changes: DefinitionChange[]): XmlElement {
  const children = os.children.flatMap((child): readonly (XmlElement | string)[] => {
    if (typeof child === 'string' || child.name !== 'nvram') return [child];
    changes.push({
      code: 'nvram_new',
      detail: `the firmware's variables (${textOf(child).trim() || 'nvram'}) are not part of a restore point; new ones are created`,
    });
    const template = child.attributes['template'];
    return template === undefined ? [] : [element('nvram', { template })];
  });
  return { ...os, children };
}

function disk(device: XmlElement, disks: ReadonlyMap<string, RestoredDisk>, changes: DefinitionChange[]): readonly XmlElement[] {
  const target = targetOf(device);
  const kind = device.attributes['device'] ?? 'disk';
  if (kind === 'cdrom' || kind === 'floppy') {
    const source = childOf(device, 'source');
    if (source !== undefined) changes.push({ code: 'medium_removed', detail: `the ${kind} ${target} is empty: ${Object.values(source.attributes).join(' ')}` });
    const rest = device.children.filter((child) => typeof child === 'string' || !['source', 'backingStore', 'mirror', 'alias'].includes(child.name));
    return [{ ...device, attributes: { ...device.attributes, type: 'file' }, children: rest }];
  }
  const restored = disks.get(target);
  if (restored === undefined) {
    changes.push({ code: 'disk_left_out', detail: `the disk ${target} is not part of the restore point` });
    return [];
  }
  if ([device, childOf(device, 'source')].some((place) => childOf(place, 'encryption') !== undefined)) {
    changes.push({ code: 'encryption_removed', detail: `the disk ${target} was encrypted by libvirt; the restored disk is not` });
  }
  const rest = device.children.filter(
    (child) => typeof child === 'string' || !['source', 'driver', 'backingStore', 'mirror', 'encryption', 'auth', 'transient', 'alias'].includes(child.name),
  );
  const driver = without(childOf(device, 'driver')?.attributes ?? {}, 'type', 'name', ...(restored.kind === 'nbd' ? ['io', 'cache'] : []));
  return [
    {
      name: 'disk',
      attributes: { ...without(device.attributes, 'model', 'rawio', 'sgio', 'snapshot'), type: restored.kind === 'file' ? 'file' : 'network', device: 'disk' },
      children: [element('driver', { name: 'qemu', type: restored.kind === 'file' ? 'qcow2' : 'raw', ...driver }), sourceOf(restored), ...rest],
    },
  ];
}

function sourceOf(restored: RestoredDisk): XmlElement {
  if (restored.kind === 'file') return element('source', { file: restored.path });
  const host = element('host', { transport: 'unix', socket: restored.socket });
  // libvirt 9.0 ignores it.
  const reconnect = element('reconnect', { delay: String(SERVER_AWAY_SECONDS) });
  return element('source', { protocol: 'nbd', name: restored.exportName }, host, reconnect);
}

function networkInterface(device: XmlElement, index: number, wanted: RestoredDomain, changes: DefinitionChange[]): readonly XmlElement[] {
  const address = childOf(device, 'mac')?.attributes['address'] ?? '';
  if (wanted.network === 'none' || device.attributes['type'] === 'hostdev' || device.attributes['type'] === 'vdpa') {
    changes.push({
      code: wanted.network === 'none' ? 'interface_removed' : 'host_device_removed',
      detail: `the network interface ${address} (${device.attributes['type'] ?? 'unknown'})`,
    });
    return [];
  }
  const elsewhere = wanted.libvirtNetwork;
  const children = device.children.flatMap((child): readonly (XmlElement | string)[] => {
    if (typeof child === 'string') return [child];
    switch (child.name) {
      case 'mac':
        return wanted.keepIdentity ? [child] : [];
      case 'alias':
      case 'target':
      case 'link':
        return [];
      case 'source':
        return elsewhere === null
          ? [{ ...child, attributes: without(child.attributes, 'portid', ...(child.attributes['network'] === undefined ? [] : ['bridge'])) }]
          : [];
      case 'virtualport':
      case 'vlan':
      case 'filterref':
      case 'portForward':
      case 'backend':
        return elsewhere === null ? [child] : [];
      default:
        return [child];
    }
  });
  return [
    {
      ...device,
      attributes: elsewhere === null ? device.attributes : { ...device.attributes, type: 'network' },
      children: [
        ...(wanted.keepIdentity ? [] : [element('mac', { address: macAddress(wanted.uuid, index) })]),
        ...children,
        ...(elsewhere === null ? [] : [element('source', { network: elsewhere })]),
        ...(wanted.network === 'disconnected' ? [element('link', { state: 'down' })] : []),
      ],
    },
  ];
}

/** In libvirt's own range; derived from domain and device, so that building the definition again yields the same address. */
function macAddress(uuid: string, index: number): string {
  const number = (Number.parseInt(uuid.replaceAll('-', '').slice(0, 6), 16) + index) % 0x100_0000;
  const digits = number.toString(16).padStart(6, '0');
  return `52:54:00:${digits.slice(0, 2)}:${digits.slice(2, 4)}:${digits.slice(4, 6)}`;
}

function graphics(device: XmlElement, changes: DefinitionChange[]): readonly XmlElement[] {
  const kind = device.attributes['type'];
  const { port } = device.attributes;
  if (device.attributes['autoport'] !== 'yes' && port !== undefined && port !== '-1') {
    changes.push({ code: 'port_automatic', detail: `the ${kind ?? ''} display was on port ${port}; libvirt assigns a free one` });
  }
  const children = childrenOf(device).filter((child) => child.name !== 'listen' || child.attributes['type'] !== 'socket');
  return [
    {
      ...device,
      attributes: { ...without(device.attributes, 'port', 'tlsPort', 'websocket', 'socket', 'passwd', 'passwdValidTo'), autoport: 'yes' },
      children,
    },
  ];
}

function characterDevice(device: XmlElement, changes: DefinitionChange[]): readonly XmlElement[] {
  const type = device.attributes['type'] ?? 'pty';
  const log = childOf(device, 'log')?.attributes['file'];
  const path = childOf(device, 'source')?.attributes['path'];
  const rest = childrenOf(device).filter(({ name }) => !['source', 'log', 'alias', 'protocol'].includes(name));
  if (log !== undefined) changes.push({ code: 'host_path_removed', detail: `the log ${log} of a ${device.name}` });
  if (HOSTLESS.has(type))
    return [{ ...device, attributes: without(device.attributes, 'tty'), children: type === 'spiceport' ? [...channelOf(device), ...rest] : rest }];
  // libvirt creates the sockets of channels itself.
  if (device.name === 'channel' && type === 'unix') return [{ ...device, children: rest }];
  changes.push({ code: 'host_path_removed', detail: `the ${type} ${path ?? ''} behind a ${device.name}`.replaceAll('  ', ' ') });
  return device.name === 'channel' ? [] : [{ ...device, attributes: { type: 'pty' }, children: rest }];
}

/** The port name of a spiceport channel. */
function channelOf(device: XmlElement): readonly XmlElement[] {
  const channel = childOf(device, 'source')?.attributes['channel'];
  return channel === undefined ? [] : [element('source', { channel })];
}

function tpm(device: XmlElement, changes: DefinitionChange[]): readonly XmlElement[] {
  const backend = childOf(device, 'backend');
  if (backend?.attributes['type'] !== 'emulator') {
    changes.push({ code: 'host_device_removed', detail: 'a TPM of the old host' });
    return [];
  }
  changes.push({ code: 'tpm_state_new', detail: 'the state of the TPM is not part of a restore point; the TPM starts empty' });
  const children = device.children.map((child) =>
    typeof child !== 'string' && child.name === 'backend' ? { ...child, attributes: without(child.attributes, 'persistent_state') } : child,
  );
  return [{ ...device, children }];
}

/** Devices need no change, except for a number that must be unique per VM. */
function asItIs(device: XmlElement): XmlElement {
  return device.name === 'vsock' ? { ...device, children: [element('cid', { auto: 'yes' })] } : device;
}

function without(attributes: Readonly<Record<string, string>>, ...names: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(attributes).filter(([name]) => !names.includes(name)));
}
