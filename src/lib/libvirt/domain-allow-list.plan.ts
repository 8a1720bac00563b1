import { childOf, element, textOf, type XmlElement } from './xml-element.js';

/** The allowed attributes and children of an element. Everything else is dropped. */
interface Rule {
  readonly attributes: Readonly<Record<string, RegExp>>;
  /** any: libvirt ignores the content, or the code that rewrites the definition checks and replaces it. */
  readonly children: Readonly<Record<string, Rule>> | 'any';
}

export interface Dropped {
  readonly code: 'host_device_removed' | 'element_removed' | 'attribute_removed' | 'emulator_removed' | 'firmware_replaced' | 'security_label_removed';
  readonly detail: string;
}

const VALUE = /^[^\p{Cc}]{0,1000}$/u;

/** @param attributes names, optionally with the allowed values: `id type=a|b` */
function rule(attributes = '', children: Rule['children'] = {}): Rule {
  const known = attributes.split(' ').filter((each) => each !== '');
  return {
    attributes: Object.fromEntries(
      known.map((each) => [each.split('=')[0] ?? '', each.includes('=') ? new RegExp(`^(?:${each.split('=')[1] ?? ''})$`) : VALUE]),
    ),
    children,
  };
}

/** The same rule for each of these elements. */
function each(names: string, one: Rule = rule()): Readonly<Record<string, Rule>> {
  return Object.fromEntries(names.split(' ').map((name) => [name, one]));
}

const ANY: Rule = { attributes: {}, children: 'any' };
const STATE = rule('state');
const UNIT = rule('unit');
const VIRTIO_DRIVER = 'iommu ats packed page_per_vq';
const PLACE = {
  ...each(
    'address',
    rule('type domain bus slot function multifunction controller target unit port iobase irq base cssid ssid devno reg', { zpci: rule('uid fid') }),
  ),
  alias: rule('name'),
};
const ROM = rule('bar enabled');
const OFFLOADS = rule('csum gso tso4 tso6 ecn ufo mrg_rxbuf');
const BANDWIDTH = rule('average peak burst floor');

/** The rewriting code checks and replaces source, log and protocol. */
const CHARACTER_DEVICE = rule('type tty', {
  ...PLACE,
  ...each('source log protocol', ANY),
  target: rule('type port name state', { model: rule('name') }),
});

const DEVICES: Readonly<Record<string, Rule>> = {
  disk: rule('type device model rawio sgio snapshot', {
    ...PLACE,
    ...each('source mirror backingStore encryption auth transient', ANY),
    driver: rule(
      `name type cache io error_policy rerror_policy discard discard_no_unref detect_zeroes ioeventfd event_idx copy_on_read iothread queues queue_size ${VIRTIO_DRIVER}`,
    ),
    target: rule('dev bus tray removable rotation_rate dpofua'),
    iotune: rule('', {
      ...each(
        'total_bytes_sec read_bytes_sec write_bytes_sec total_iops_sec read_iops_sec write_iops_sec total_bytes_sec_max read_bytes_sec_max write_bytes_sec_max total_iops_sec_max read_iops_sec_max write_iops_sec_max size_iops_sec group_name',
      ),
    }),
    boot: rule('order loadparm'),
    geometry: rule('cyls heads secs trans'),
    blockio: rule('logical_block_size physical_block_size discard_granularity'),
    ...each('readonly shareable serial wwn vendor product'),
  }),
  controller: rule('type index model ports vectors', {
    ...PLACE,
    driver: rule(`queues cmd_per_lun max_sectors ioeventfd event_idx iothread ${VIRTIO_DRIVER}`),
    master: rule('startport'),
    model: rule('name'),
    target: rule('chassisNr chassis port busNr index hotplug memReserve', { node: rule() }),
    pcihole64: UNIT,
  }),
  interface: rule('type=network|bridge|direct|user|ethernet|hostdev|vdpa', {
    ...PLACE,
    mac: rule('address type check'),
    source: rule('network portgroup bridge dev mode=vepa|bridge|private portid'),
    ...each('target backend portForward', ANY),
    model: rule('type'),
    driver: rule(`name queues rx_queue_size tx_queue_size txmode ioeventfd event_idx rss rss_hash_report ${VIRTIO_DRIVER}`, {
      host: OFFLOADS,
      guest: OFFLOADS,
    }),
    virtualport: rule('type', { parameters: rule('interfaceid profileid managerid typeid typeidversion instanceid') }),
    vlan: rule('trunk', { tag: rule('id nativeMode') }),
    filterref: rule('filter', { parameter: rule('name value') }),
    bandwidth: rule('', { inbound: BANDWIDTH, outbound: BANDWIDTH }),
    // oxlint-disable-next-line typescript/no-deprecated -- an element of the document, which it takes for the method of strings
    link: STATE,
    mtu: rule('size'),
    boot: rule('order loadparm'),
    rom: ROM,
    ip: rule('address family prefix'),
    port: rule('isolated'),
  }),
  ...each('serial console parallel channel', CHARACTER_DEVICE),
  graphics: rule(
    'type=vnc|spice|rdp port tlsPort autoport listen keymap sharePolicy passwd passwdValidTo websocket socket defaultMode multiUser replaceUser connected',
    {
      listen: rule('type address network socket'),
      channel: rule('name mode'),
      ...each('image jpeg zlib playback', rule('compression')),
      streaming: rule('mode'),
      clipboard: rule('copypaste'),
      filetransfer: rule('enable'),
      mouse: rule('mode'),
      gl: rule('enable'),
      audio: rule('id'),
    },
  ),
  video: rule('', {
    ...PLACE,
    driver: rule(`name=qemu ${VIRTIO_DRIVER}`),
    model: rule('type ram vram vgamem vram64 heads primary blob edid', { acceleration: rule('accel3d accel2d'), resolution: rule('x y') }),
  }),
  sound: rule('model multichannel', { ...PLACE, codec: rule('type'), audio: rule('id') }),
  audio: rule('id type=none|spice'),
  input: rule('type=mouse|tablet|keyboard bus model', { ...PLACE, driver: rule(VIRTIO_DRIVER) }),
  tpm: rule('model', { ...PLACE, backend: rule('type version persistent_state', { active_pcr_banks: rule('', each('sha1 sha256 sha384 sha512')) }) }),
  memballoon: rule('model autodeflate freePageReporting', { ...PLACE, stats: rule('period'), driver: rule(VIRTIO_DRIVER) }),
  rng: rule('model', { ...PLACE, rate: rule('bytes period'), backend: rule('model=random|builtin'), driver: rule(VIRTIO_DRIVER) }),
  watchdog: rule('model action=reset|shutdown|poweroff|pause|none|inject-nmi', PLACE),
  panic: rule('model', PLACE),
  vsock: rule('model', { ...PLACE, cid: rule('auto address'), driver: rule(VIRTIO_DRIVER) }),
  iommu: rule('model', { ...PLACE, driver: rule('intremap caching_mode eim iotlb aw_bits') }),
  memory: rule('model=dimm access discard', { ...PLACE, target: rule('', { size: UNIT, ...each('node') }) }),
  redirdev: rule('bus type=spicevmc', { ...PLACE, boot: rule('order') }),
  hub: rule('type', PLACE),
};

const HYPERV = rule('mode', {
  ...each('relaxed vapic vpindex runtime synic reset frequencies reenlightenment ipi evmcs avic emsr_bitmap xmm_input', STATE),
  spinlocks: rule('state retries'),
  stimer: rule('state', { direct: STATE }),
  tlbflush: rule('state', each('direct extended', STATE)),
  vendor_id: rule('state value'),
});

const DOMAIN = rule('type=kvm|qemu', {
  ...each('name uuid title description genid iothreads on_poweroff on_reboot on_crash'),
  // Kept unchanged: libvirt ignores it.
  metadata: ANY,
  memory: rule('unit dumpCore'),
  currentMemory: UNIT,
  maxMemory: rule('unit slots'),
  vcpu: rule('placement cpuset current'),
  vcpus: rule('', { vcpu: rule('id enabled hotpluggable order') }),
  iothreadids: rule('', { iothread: rule('id thread_pool_min thread_pool_max') }),
  cputune: rule('', {
    ...each('shares period quota global_period global_quota emulator_period emulator_quota iothread_period iothread_quota'),
    vcpupin: rule('vcpu cpuset'),
    emulatorpin: rule('cpuset'),
    iothreadpin: rule('iothread cpuset'),
  }),
  numatune: rule('', { memory: rule('mode nodeset placement'), memnode: rule('cellid mode nodeset') }),
  memtune: rule('', each('hard_limit soft_limit swap_hard_limit min_guarantee', UNIT)),
  blkiotune: rule('', each('weight')),
  memoryBacking: rule('', {
    hugepages: rule('', { page: rule('size unit nodeset') }),
    ...each('nosharepages locked discard'),
    source: rule('type=anonymous|memfd'),
    access: rule('mode'),
    allocation: rule('mode threads'),
  }),
  // fwcfg, the other type, reads files.
  sysinfo: rule('type=smbios', each('bios system baseBoard chassis oemStrings', rule('', { entry: rule('name') }))),
  os: rule('firmware', {
    type: rule('arch machine'),
    loader: rule('readonly secure stateless type format'),
    nvram: rule('template format'),
    ...each('kernel initrd cmdline'),
    boot: rule('dev'),
    bootmenu: rule('enable timeout'),
    smbios: rule('mode=emulate|sysinfo'),
    bios: rule('useserial rebootTimeout'),
    firmware: rule('', { feature: rule('enabled name') }),
  }),
  features: rule('', {
    ...each('acpi pae viridian privnet'),
    apic: rule('eoi'),
    ...each('hap pvspinlock pmu vmport vmcoreinfo htm nested-hv ccf-assist ras ps2', STATE),
    kvm: rule('', { ...each('hidden hint-dedicated poll-control pv-ipi', STATE), 'dirty-ring': rule('state size') }),
    hyperv: HYPERV,
    gic: rule('version'),
    ioapic: rule('driver'),
    hpt: rule('resizing', { maxpagesize: UNIT }),
    smm: rule('state', { tseg: UNIT }),
    msrs: rule('unknown'),
    ...each('cfpc sbbc ibs', rule('value')),
    tcg: rule('', { 'tb-cache': UNIT }),
    'async-teardown': rule('enabled'),
  }),
  cpu: rule('mode match check migratable deprecated_features', {
    model: rule('fallback vendor_id'),
    vendor: rule(),
    topology: rule('sockets dies clusters cores threads'),
    feature: rule('policy name'),
    cache: rule('level mode'),
    maxphysaddr: rule('mode bits limit'),
    numa: rule('', { cell: rule('id cpus memory unit memAccess discard', { distances: rule('', { sibling: rule('id value') }) }) }),
  }),
  clock: rule('offset adjustment timezone basis start', {
    timer: rule('name tickpolicy track present frequency mode', { catchup: rule('threshold slew limit') }),
  }),
  pm: rule('', each('suspend-to-mem suspend-to-disk', rule('enabled'))),
  devices: rule('', DEVICES),
});

/** Directories of distribution packages; only root writes there. */
const FIRMWARE = /^\/usr\/share\/(?:OVMF|AAVMF|edk2|edk2-ovmf|qemu|qemu-efi-aarch64|seabios|ovmf)\/(?!.*\.\.)[\w.+/-]{1,200}$/;
/** Where a node's administrator puts kernels for guests, as libvirt's own tools do. */
const GUEST_KERNEL = /^\/var\/lib\/libvirt\/boot\/(?!\.)[\w.+-]{1,200}$/;
const RANDOM_SOURCES: ReadonlySet<string> = new Set(['/dev/random', '/dev/urandom', '/dev/hwrng']);
/** libvirt writes these into every definition itself; they mean nothing in another one. */
const UNMENTIONED: ReadonlySet<string> = new Set(['resource', 'backingStore', 'alias']);

/**
 * A domain reduced to elements known to describe the guest's hardware. A definition comes from a repository or another host and is untrusted: anything that
 * could refer to the new host - programs, files, sockets, scripts, devices, arguments for qemu - is dropped.
 */
export function allowedDomain(domain: XmlElement): { readonly domain: XmlElement; readonly dropped: readonly Dropped[] } {
  const dropped: Dropped[] = [];
  return { domain: allowed(domain, DOMAIN, '', dropped), dropped };
}

function allowed(found: XmlElement, { attributes, children }: Rule, within: string, dropped: Dropped[]): XmlElement {
  if (children === 'any') return found;
  const path = within === '' ? found.name : `${within}/${found.name}`;
  const kept = Object.entries(found.attributes).filter(([name, value]) => {
    // An attribute may be called constructor, which every object has.
    if (Object.hasOwn(attributes, name) && attributes[name]?.test(value) === true) return true;
    if (!name.startsWith('xmlns') && !(path === 'domain' && name === 'id')) {
      dropped.push({ code: 'attribute_removed', detail: `${name}="${shortened(value)}" of <${path}>` });
    }
    return false;
  });
  const inside = found.children.flatMap((child): readonly (XmlElement | string)[] => {
    if (typeof child === 'string') return [child];
    const known = Object.hasOwn(children, child.name) ? children[child.name] : undefined;
    if (known === undefined || hasRefusedValue(child, known)) {
      const loss = lossOf(child, path);
      if (loss !== null) dropped.push(loss);
      return [];
    }
    return [special(allowed(child, known, path, dropped), path, dropped)];
  });
  return { name: found.name, attributes: Object.fromEntries(kept), children: inside };
}

/** An element with a restricted attribute and another value is a different kind of element. */
function hasRefusedValue({ attributes }: XmlElement, known: Rule): boolean {
  return Object.entries(known.attributes).some(([name, values]) => values !== VALUE && attributes[name] !== undefined && !values.test(attributes[name]));
}

function lossOf(child: XmlElement, path: string): Dropped | null {
  const devices = path === 'domain/devices';
  if (UNMENTIONED.has(child.name)) return null;
  if (path === 'domain' && child.name === 'seclabel') {
    const { type } = child.attributes;
    if (type !== 'none' && type !== 'static') return null;
    const what =
      type === 'none' ? 'security_label none: the VM runs confined, as configured on the node' : 'a static security label, which belonged to the old disks';
    return { code: 'security_label_removed', detail: what };
  }
  if (devices && child.name === 'emulator') return { code: 'emulator_removed', detail: `the emulator ${shortened(textOf(child))}; the node uses its own` };
  if (devices)
    return { code: 'host_device_removed', detail: `${[child.attributes['type'], child.name].filter((word) => word !== undefined).join(' ')} of the old host` };
  return { code: 'element_removed', detail: `<${path}/${child.name}>${shortened(textOf(child)) === '' ? '' : ` ${shortened(textOf(child))}`}` };
}

/** Elements whose text refers to the host. */
function special(found: XmlElement, path: string, dropped: Dropped[]): XmlElement {
  if (path === 'domain' && found.name === 'os') return withKnownFirmware(withKnownKernel(found, dropped), dropped);
  if (path !== 'domain/devices' || found.name !== 'rng') return found;
  const backend = childOf(found, 'backend');
  const source = textOf(backend).trim();
  if (backend?.attributes['model'] === 'builtin' || RANDOM_SOURCES.has(source)) return found;
  dropped.push({ code: 'element_removed', detail: `the source ${shortened(source)} of an rng; replaced by /dev/urandom` });
  const others = found.children.filter((child) => typeof child === 'string' || child.name !== 'backend');
  return { ...found, children: [...others, element('backend', { model: 'random' }, '/dev/urandom')] };
}

/** Kernel, initrd and arguments are kept or dropped together. */
function withKnownKernel(os: XmlElement, dropped: Dropped[]): XmlElement {
  const files = ['kernel', 'initrd'].flatMap((name) => childOf(os, name) ?? []);
  if (childOf(os, 'kernel') !== undefined && files.every((file) => GUEST_KERNEL.test(textOf(file).trim()))) return os;
  const children = os.children.filter((child) => {
    if (typeof child === 'string' || !['kernel', 'initrd', 'cmdline'].includes(child.name)) return true;
    dropped.push({ code: 'element_removed', detail: `<domain/os/${child.name}> ${shortened(textOf(child))}`.trim() });
    return false;
  });
  return { ...os, children };
}

/** For firmware other than the node's packages, libvirt selects its own. */
function withKnownFirmware(os: XmlElement, dropped: Dropped[]): XmlElement {
  const loader = childOf(os, 'loader');
  const path = textOf(loader).trim();
  const isKnown = path === '' || FIRMWARE.test(path);
  const children = os.children.flatMap((child): readonly (XmlElement | string)[] => {
    if (typeof child === 'string') return [child];
    if (child.name === 'loader' && !isKnown) {
      const { secure } = child.attributes;
      return secure === undefined ? [] : [element('loader', { secure })];
    }
    if (child.name !== 'nvram') return [child];
    const { template } = child.attributes;
    if (template === undefined || (isKnown && FIRMWARE.test(template))) return [child];
    dropped.push({ code: 'firmware_replaced', detail: `the template ${shortened(template)} of the firmware's variables` });
    return [element('nvram', {}, textOf(child))];
  });
  if (isKnown) return { ...os, children };
  dropped.push({ code: 'firmware_replaced', detail: `the firmware ${shortened(path)}; the node selects its own` });
  const isUefi = loader?.attributes['type'] === 'pflash';
  return { ...os, attributes: { ...os.attributes, ...(isUefi ? { firmware: 'efi' } : {}) }, children };
}

function shortened(text: string): string {
  const line = text.replaceAll(/[\s\p{Cc}]+/gu, ' ').trim();
  return line.length > 200 ? `${line.slice(0, 200)}...` : line;
}
