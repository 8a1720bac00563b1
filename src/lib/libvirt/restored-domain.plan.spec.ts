import { describe, expect, it } from '@jest/globals';
import { checkedDomain, jobIdInMetadata, restoredDomain, SENDENSE_NAMESPACE } from './restored-domain.plan.js';

const UUID = '11111111-2222-3333-4444-555555555555';
const DEFINITION = `<?xml version='1.0'?>
<!-- as virsh prints it -->
<domain type='kvm' id='7'>
  <name>old &amp; good</name>
  <uuid>aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee</uuid>
  <metadata><libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0"><libosinfo:os id="http://debian.org/debian/12"/></libosinfo:libosinfo></metadata>
  <memory unit='KiB'>1048576</memory>
  <vcpu placement='static' cpuset='0-3'>2</vcpu>
  <sysinfo type='smbios'><system><entry name='uuid'>aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee</entry><entry name='serial'>x</entry></system></sysinfo>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader><nvram template='/usr/share/OVMF/OVMF_VARS.fd'>/var/lib/libvirt/qemu/nvram/old_VARS.fd</nvram></os>
  <on_poweroff>destroy</on_poweroff>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='block' device='disk'><driver name='qemu' type='raw' cache='none' io='native'/><source dev='/dev/vg/old'/><backingStore/><target dev='vda' bus='virtio'/><serial>abc</serial><boot order='1'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/mnt/shared.raw'/><target dev='vdb' bus='virtio'/><shareable/></disk>
    <disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='/srv/iso/debian.iso'/><target dev='sda' bus='sata'/><readonly/></disk>
    <interface type='network'><mac address='52:54:00:aa:bb:cc'/><source network='default' portid='f00' bridge='virbr0'/><target dev='vnet3'/><model type='virtio'/></interface>
    <serial type='file'><source path='/var/log/old.log'/><target port='0'/></serial>
    <channel type='unix'><source mode='bind' path='/var/lib/libvirt/qemu/channel/target/domain-7-old/org.qemu.guest_agent.0'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <graphics type='vnc' port='5901' autoport='no' passwd='never'/>
    <hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' bus='0x03' slot='0x00' function='0x0'/></source></hostdev>
    <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>
  </devices>
</domain>`;

const WANTED = {
  name: 'new <one>',
  uuid: UUID,
  keepIdentity: false,
  jobId: 'job-1',
  disks: new Map([['vda', { kind: 'file', path: '/images/new-disk0.qcow2' } as const]]),
  network: 'keep',
  libvirtNetwork: null,
} as const;

describe('the definition of a restored VM', () => {
  it('gets its own name, uuid, MAC address and disk, and drops and reports everything tied to the old host', () => {
    const { xml, changes } = restoredDomain(DEFINITION, WANTED);
    expect(xml).toMatchSnapshot();
    expect(changes).toMatchSnapshot();
    for (const old of ['aaaaaaaa-bbbb', '52:54:00:aa', '/dev/vg/old', 'shared.raw', 'debian.iso', '/var/log', 'passwd', 'old_VARS', 'hostdev', 'id="7"']) {
      expect(xml).not.toContain(old);
    }
  });

  it('keeps uuid and MAC address on request', () => {
    const { xml } = restoredDomain(DEFINITION, { ...WANTED, uuid: 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee', keepIdentity: true });
    expect(xml).toContain('52:54:00:aa:bb:cc');
    expect(xml).toContain('<uuid>aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee</uuid>');
  });

  it.each([
    [{ network: 'disconnected' }, '<link state="down">'],
    [{ libvirtNetwork: 'isolated' }, '<source network="isolated">'],
  ] as const)('has the requested network: %j', (asked, expected) => {
    const { xml } = restoredDomain(DEFINITION, { ...WANTED, ...asked });
    expect(xml.replaceAll('/>', '>')).toContain(expected);
  });

  it('has no network interface when none is requested', () => {
    expect(restoredDomain(DEFINITION, { ...WANTED, network: 'none' }).xml).not.toContain('<interface');
  });

  it('reads a disk over NBD', () => {
    const disks = new Map([['vda', { kind: 'nbd', socket: '/guests/x/nbd.sock', exportName: 'restore-x' } as const]]);
    const { xml } = restoredDomain(DEFINITION, { ...WANTED, disks });
    expect(xml).toMatch(
      /<disk type="network" device="disk">\s*<driver name="qemu" type="raw".*\s*<source protocol="nbd" name="restore-x">\s*<host transport="unix" socket="\/guests\/x\/nbd.sock"\/>\s*<reconnect delay="60"\/>/,
    );
  });

  it('is deterministic', () => {
    const { xml } = restoredDomain(DEFINITION, WANTED);
    expect(restoredDomain(xml, WANTED).xml).toBe(xml);
  });

  it('names its job in the metadata', () => {
    expect(restoredDomain(DEFINITION, WANTED).xml).toContain(`xmlns:sendense="${SENDENSE_NAMESPACE}" job="job-1"`);
    expect(jobIdInMetadata(`<restore job="job-1"/>`)).toBe('job-1');
    expect(jobIdInMetadata('')).toBeNull();
  });

  it.each([
    ['no XML', 'domain'],
    ['another document', '<network><name>x</name></network>'],
    ['a definition without the disk', '<domain><devices/></domain>'],
    ['an unfinished one', '<domain><devices>'],
    ['an element that the parser refuses', '<domain><constructor/></domain>'],
  ])('is refused for %s', (_what, text) => {
    expect(() => restoredDomain(text, WANTED)).toThrow(expect.objectContaining({ name: 'WrongShapeError' }));
  });
});

describe('the definition of a VM for a boot check', () => {
  it('has no network or display, but a serial console, a video device and a channel for the agent', () => {
    const { xml } = checkedDomain(DEFINITION, { ...WANTED, consoleSocket: '/run/console.sock', memoryMib: 256 });
    expect(xml).toMatchSnapshot();
    for (const gone of ['<interface', '<graphics', '<hostdev', 'cpuset']) expect(xml).not.toContain(gone);
  });
});

describe('a definition that refers to the host', () => {
  const HOSTILE = DEFINITION.replace("<domain type='kvm' id='7'>", "<domain type='kvm' id='7' xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>")
    .replace(
      /<loader.*?<\/nvram>/,
      "<loader type='pflash'>/etc/shadow</loader><nvram template='/etc/gshadow'>/etc/passwd</nvram><kernel>/boot/evil</kernel><initrd>/etc/shadow</initrd><cmdline>init=/bin/sh</cmdline><dtb>/etc/hosts</dtb><acpi><table type='slic'>/etc/crontab</table></acpi>",
    )
    .replace('/usr/bin/qemu-system-x86_64', '/tmp/evil-emulator')
    .replace(
      '</devices>',
      `<interface type='ethernet'><script path='/tmp/evil-script'/><downscript path='/tmp/evil-down'/><rom file='/tmp/evil-rom' bar='on'/></interface>
       <interface type='vhostuser'><source type='unix' path='/tmp/evil-socket' mode='client'/></interface>
       <rng model='virtio'><backend model='random'>/tmp/evil-rng</backend></rng>
       <rng model='virtio'><backend model='egd' type='udp'><source mode='connect' host='evil-host' service='1'/></backend></rng>
       <filesystem type='mount' accessmode='passthrough'><source dir='/evil-tree'/><target dir='x'/></filesystem>
       <input type='evdev'><source dev='/dev/input/evil'/></input>
       <video><driver name='vhostuser' vgaconf='/tmp/evil-vga'/><model type='virtio'><acceleration accel3d='yes' rendernode='/dev/dri/evil'/></model></video>
       <graphics type='egl-headless'><gl rendernode='/dev/dri/evil'/></graphics>
       <audio id='1' type='file' path='/tmp/evil-audio'/>
       <watchdog model='i6300esb' action='dump'/>
       <memory model='nvdimm'><source><path>/tmp/evil-memory</path></source><target><size unit='KiB'>1</size></target></memory>
       <shmem name='evil-shm'/><hostdev mode='capabilities' type='misc'><source><char>/dev/evil</char></source></hostdev>
       <channel type='spiceport'><source channel='org.x'/><log file='/tmp/evil-log'/><target type='virtio' name='org.x'/></channel>
       <crypto model='virtio'><backend model='lkcf' queues='1'/></crypto><pstore backend='acpi-erst'><path>/tmp/evil-pstore</path></pstore>
     </devices>
     <seclabel type='none'/>
     <sysinfo type='fwcfg'><entry name='opt/x' file='/tmp/evil-fwcfg'/></sysinfo>
     <launchSecurity type='sev'><dhCert>evil-cert</dhCert></launchSecurity>
     <keywrap/><perf><event name='cmt' enabled='yes'/></perf>
     <memoryBacking><source type='file'/><hugepages/></memoryBacking>
     <blkiotune><weight>500</weight><device><path>/dev/evil</path></device></blkiotune>
     <q:commandline><q:arg value='-evil-argument'/><q:env name='LD_PRELOAD' value='/tmp/evil.so'/></q:commandline>
     <commandline xmlns='http://libvirt.org/schemas/domain/qemu/1.0'><arg value='-evil-argument'/></commandline>
     <override xmlns='http://libvirt.org/schemas/domain/qemu/1.0'><device alias='evil'/></override>
     <something-new path='/tmp/evil'/>`,
    );
  const CHECKED = { ...WANTED, consoleSocket: '/run/console.sock', memoryMib: null };

  it.each([
    ['restored', () => restoredDomain(HOSTILE, WANTED)],
    ['checked', () => checkedDomain(HOSTILE, CHECKED)],
  ])('is %s without any host reference, and every removal is reported', (_, rewrite) => {
    const { xml, changes } = rewrite();
    for (const gone of [
      'evil',
      '/etc/',
      '/boot/',
      'init=',
      'egl-headless',
      'script',
      'seclabel',
      'commandline',
      'xmlns:q',
      'fwcfg',
      'dump',
      'passthrough',
      'keywrap',
    ]) {
      expect(xml).not.toContain(gone);
    }
    const told = changes.map(({ code, detail }) => `${code}: ${detail}`).join('\n');
    for (const reported of [
      'emulator_removed: the emulator /tmp/evil-emulator',
      'firmware_replaced: the firmware /etc/shadow',
      'firmware_replaced: the template /etc/gshadow',
      '<domain/os/kernel> /boot/evil',
      '<domain/os/initrd> /etc/shadow',
      '<domain/os/cmdline>',
      '<domain/os/dtb>',
      '<domain/os/acpi>',
      '<domain/devices/interface/script>',
      '<domain/devices/interface/downscript>',
      'file="/tmp/evil-rom"',
      'vhostuser interface of the old host',
      '/tmp/evil-rng',
      'filesystem of the old host',
      'hostdev of the old host',
      'shmem of the old host',
      'evdev input of the old host',
      'rendernode="/dev/dri/evil"',
      '<domain/q:commandline>',
      '<domain/commandline>',
      '<domain/override>',
      '<domain/something-new>',
      '<domain/launchSecurity>',
      '<domain/sysinfo>',
      'security_label_removed: security_label none',
    ]) {
      expect(told).toContain(reported);
    }
  });

  it('gets firmware selected by the node', () => {
    expect(restoredDomain(HOSTILE, WANTED).xml).toMatch(
      /<os firmware="efi">\s*<type arch="x86_64" machine="pc-q35-7.2">hvm<\/type>\s*<nvram\/>|<os firmware="efi">\s*<type arch="x86_64" machine="pc-q35-7.2">hvm<\/type>\s*<\/os>/,
    );
  });

  it.each([
    ['/var/lib/libvirt/boot/vmlinuz', '/var/lib/libvirt/boot/initrd.img', true],
    ['/var/lib/libvirt/boot/vmlinuz', '/etc/shadow', false],
    ['/var/lib/libvirt/boot/../../../../etc/shadow', '/var/lib/libvirt/boot/initrd.img', false],
    ['/var/lib/libvirt/boot/..', '/var/lib/libvirt/boot/initrd.img', false],
  ])('boots kernel %s with initrd %s: %s', (kernel, initrd, kept) => {
    const direct = DEFINITION.replace('</os>', `<kernel>${kernel}</kernel><initrd>${initrd}</initrd><cmdline>quiet</cmdline></os>`);
    const { xml, changes } = restoredDomain(direct, WANTED);
    for (const part of ['<kernel>', '<initrd>', '<cmdline>']) expect(xml.includes(part)).toBe(kept);
    expect(changes.some(({ detail }) => detail.includes('domain/os'))).toBe(!kept);
  });

  it('is refused for another domain type', () => {
    expect(() => restoredDomain(DEFINITION.replace("type='kvm'", "type='lxc'"), WANTED)).toThrow(expect.objectContaining({ name: 'WrongShapeError' }));
  });
});
