import { describe, expect, it } from '@jest/globals';
import { allowedDomain, type Dropped } from './domain-allow-list.plan.js';
import { parseXml, writeXml } from './xml-element.js';

interface Allowed {
  /** On one line. */
  readonly xml: string;
  readonly dropped: readonly Dropped[];
}

function allowedText(text: string): Allowed {
  const { domain, dropped } = allowedDomain(parseXml(text));
  return { xml: writeXml(domain).replaceAll(/>\s+</g, '><').trim(), dropped };
}

const inDomain = (text: string): Allowed => allowedText(`<domain type="kvm">${text}</domain>`);
const inDevices = (text: string): Allowed => inDomain(`<devices>${text}</devices>`);
const inOs = (text: string): Allowed => inDomain(`<os>${text}</os>`);

describe('a definition', () => {
  it('stays as it is where all of it says how the machine of the guest is', () => {
    const text =
      '<domain type="kvm"><name>web</name><memory unit="KiB">1048576</memory><vcpu placement="static">2</vcpu>' +
      '<os><type arch="x86_64" machine="pc-q35-7.2">hvm</type><boot dev="hd"/></os><cpu mode="host-passthrough"/>' +
      '<devices><disk type="file" device="disk"><driver name="qemu" type="qcow2"/><source file="/images/web.qcow2"/><target dev="vda" bus="virtio"/></disk>' +
      '<interface type="network"><mac address="52:54:00:aa:bb:cc"/><source network="default"/><model type="virtio"/></interface></devices></domain>';
    expect(allowedText(text)).toEqual({ xml: text, dropped: [] });
  });

  it('loses its elements and attributes that are not known, and says which', () => {
    const { xml, dropped } = inDomain('<something-new path="/tmp/evil">text</something-new><vcpu evil="1">2</vcpu>');
    expect(xml).toBe('<domain type="kvm"><vcpu>2</vcpu></domain>');
    expect(dropped).toEqual([
      { code: 'element_removed', detail: '<domain/something-new> text' },
      { code: 'attribute_removed', detail: 'evil="1" of <domain/vcpu>' },
    ]);
  });

  it('loses arguments, variables and overrides for qemu, in whichever namespace they are', () => {
    const { xml } = allowedText(
      `<domain type="kvm" xmlns:q="http://libvirt.org/schemas/domain/qemu/1.0"><q:commandline><q:arg value="-evil"/></q:commandline>` +
        `<commandline xmlns="http://libvirt.org/schemas/domain/qemu/1.0"><env name="LD_PRELOAD" value="/tmp/evil.so"/></commandline><override/></domain>`,
    );
    expect(xml).toBe('<domain type="kvm"/>');
  });

  it('keeps what libvirt does nothing with, whatever it holds', () => {
    const text = '<domain type="kvm"><metadata><x:y xmlns:x="urn:x" any="thing"/></metadata></domain>';
    expect(allowedText(text)).toEqual({ xml: text, dropped: [] });
  });

  it('loses the number that the old host ran it under without a word', () => {
    expect(allowedText('<domain type="kvm" id="7"/>')).toEqual({ xml: '<domain type="kvm"/>', dropped: [] });
  });

  it.each(['constructor', 'toString', 'hasOwnProperty'])('loses an attribute that is called %s like any other', (name) => {
    const { xml, dropped } = allowedText(`<domain type="kvm" ${name}="x"><devices/></domain>`);
    expect(xml).toBe('<domain type="kvm"><devices/></domain>');
    expect(dropped).toEqual([{ code: 'attribute_removed', detail: `${name}="x" of <domain>` }]);
  });

  it('loses an attribute with control characters in its value, or more than 1000 characters', () => {
    expect(inDomain(`<memory unit="${'K'.repeat(1000)}">1</memory>`).dropped).toEqual([]);
    expect(inDomain(`<memory unit="${'K'.repeat(1001)}">1</memory>`).dropped).toMatchObject([{ code: 'attribute_removed' }]);
    expect(inDomain('<memory unit="K\u0085B">1</memory>').xml).toBe('<domain type="kvm"><memory>1</memory></domain>');
  });

  it('says what it loses in at most 200 characters of one line', () => {
    const [loss] = inDomain(`<evil>${'a\n'.repeat(300)}</evil>`).dropped;
    expect(loss?.detail).toMatch(/^<domain\/evil> (a ){100}\.\.\.$/);
    expect(inDomain(`<evil>${'a'.repeat(200)}</evil>`).dropped).toEqual([{ code: 'element_removed', detail: `<domain/evil> ${'a'.repeat(200)}` }]);
  });

  it('loses a security label of the old host: one it makes itself is not worth a word', () => {
    expect(inDomain('<seclabel type="dynamic" model="apparmor"/>')).toEqual({ xml: '<domain type="kvm"/>', dropped: [] });
    expect(inDomain('<seclabel type="none"/>')).toEqual({
      xml: '<domain type="kvm"/>',
      dropped: [{ code: 'security_label_removed', detail: 'security_label none: the VM runs confined, as configured on the node' }],
    });
    expect(inDomain('<seclabel type="static"/>')).toEqual({
      xml: '<domain type="kvm"/>',
      dropped: [{ code: 'security_label_removed', detail: 'a static security label, which belonged to the old disks' }],
    });
  });
});

describe('a device', () => {
  it.each([
    ['a device of the host', '<hostdev mode="subsystem" type="pci"/>'],
    ['a folder of the host', '<filesystem type="mount"><source dir="/evil"/></filesystem>'],
    ['shared memory', '<shmem name="evil"/>'],
    ['an input device of the host', '<input type="evdev"><source dev="/dev/input/event0"/></input>'],
    ['a program that serves the network', '<interface type="vhostuser"><source type="unix" path="/tmp/evil"/></interface>'],
    ['memory that is a file', '<memory model="nvdimm"><source><path>/tmp/evil</path></source></memory>'],
    ['an audio device that writes files', '<audio id="1" type="file" path="/tmp/evil"/>'],
    ['a watchdog that dumps the memory', '<watchdog model="i6300esb" action="dump"/>'],
    ['a display on the graphics card of the host', '<graphics type="egl-headless"/>'],
  ])('of the host is left out: %s', (_what, text) => {
    const { xml, dropped } = inDevices(text);
    expect(xml).toBe('<domain type="kvm"><devices/></domain>');
    expect(dropped).toMatchObject([{ code: 'host_device_removed' }]);
  });

  it('of the host is named by its type and its element', () => {
    expect(inDevices('<hostdev mode="subsystem" type="pci"/><shmem name="x"/>').dropped.map(({ detail }) => detail)).toEqual([
      'pci hostdev of the old host',
      'shmem of the old host',
    ]);
  });

  it('has no program of the host behind it', () => {
    const { xml, dropped } = inDevices('<emulator>/tmp/evil</emulator>');
    expect(xml).toBe('<domain type="kvm"><devices/></domain>');
    expect(dropped).toEqual([{ code: 'emulator_removed', detail: 'the emulator /tmp/evil; the node uses its own' }]);
  });

  it('keeps nothing that names a script or a file of the host', () => {
    const { xml } = inDevices('<interface type="ethernet"><script path="/tmp/evil"/><rom file="/tmp/evil" bar="on"/><model type="virtio"/></interface>');
    expect(xml).toBe('<domain type="kvm"><devices><interface type="ethernet"><rom bar="on"/><model type="virtio"/></interface></devices></domain>');
  });

  it('loses a part of another kind as a whole', () => {
    expect(inDevices('<video><driver name="vhostuser" vgaconf="/tmp/evil"/><model type="virtio"/></video>').xml).toBe(
      '<domain type="kvm"><devices><video><model type="virtio"/></video></devices></domain>',
    );
  });
});

describe('a source of random numbers', () => {
  it.each(['/dev/random', '/dev/urandom', '/dev/hwrng'])('of the guest may be %s', (source) => {
    const { xml, dropped } = inDevices(`<rng model="virtio"><backend model="random">${source}</backend></rng>`);
    expect(xml).toContain(`<backend model="random">${source}</backend>`);
    expect(dropped).toEqual([]);
  });

  it('of the guest may be the emulator itself', () => {
    expect(inDevices('<rng model="virtio"><backend model="builtin"/></rng>').dropped).toEqual([]);
  });

  it.each([
    ['a file of the host', '<backend model="random">/etc/shadow</backend>'],
    ['a path that only begins right', '<backend model="random">/dev/random/../sda</backend>'],
    ['a server', '<backend model="egd" type="udp"><source host="evil"/></backend>'],
    ['nothing', ''],
  ])('of the guest is /dev/urandom instead of %s', (_what, backend) => {
    const { xml, dropped } = inDevices(`<rng model="virtio">${backend}</rng>`);
    expect(xml).toBe('<domain type="kvm"><devices><rng model="virtio"><backend model="random">/dev/urandom</backend></rng></devices></domain>');
    expect(dropped.at(-1)).toMatchObject({ code: 'element_removed', detail: expect.stringContaining('replaced by /dev/urandom') });
  });
});

describe('a kernel', () => {
  const boot = '/var/lib/libvirt/boot';

  it('stays with its initrd and arguments where the administrator of the node puts kernels', () => {
    const text = `<kernel>${boot}/vmlinuz-6.1</kernel><initrd>${boot}/initrd.img</initrd><cmdline>console=ttyS0</cmdline>`;
    expect(inOs(text)).toEqual({ xml: `<domain type="kvm"><os>${text}</os></domain>`, dropped: [] });
  });

  it.each([
    ['a kernel from elsewhere', `<kernel>/etc/shadow</kernel><initrd>${boot}/initrd.img</initrd><cmdline>x</cmdline>`, 3],
    ['an initrd from elsewhere', `<kernel>${boot}/vmlinuz</kernel><initrd>/etc/shadow</initrd><cmdline>x</cmdline>`, 3],
    ['a kernel that leads out of the folder', `<kernel>${boot}/../../../../etc/shadow</kernel>`, 1],
    ['a kernel of a folder within', `<kernel>${boot}/x/vmlinuz</kernel>`, 1],
    ['a hidden kernel', `<kernel>${boot}/.vmlinuz</kernel>`, 1],
    ['an initrd without a kernel', `<initrd>${boot}/initrd.img</initrd>`, 1],
    ['arguments without a kernel', '<cmdline>init=/bin/sh</cmdline>', 1],
  ])('goes with its initrd and arguments: %s', (_what, text, losses) => {
    const { xml, dropped } = inOs(`${text}<boot dev="hd"/>`);
    expect(xml).toBe('<domain type="kvm"><os><boot dev="hd"/></os></domain>');
    expect(dropped.map(({ code }) => code)).toEqual(Array.from({ length: losses }, () => 'element_removed'));
  });
});

describe('firmware', () => {
  it.each(['/usr/share/OVMF/OVMF_CODE.fd', '/usr/share/qemu/edk2-x86_64-code.fd', '/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd'])(
    'of a package of the node stays: %s',
    (path) => {
      const text = `<loader readonly="yes" type="pflash">${path}</loader><nvram template="/usr/share/OVMF/OVMF_VARS.fd">/var/lib/vars.fd</nvram>`;
      expect(inOs(text)).toEqual({ xml: `<domain type="kvm"><os>${text}</os></domain>`, dropped: [] });
    },
  );

  it.each(['/etc/shadow', '/usr/share/OVMF/../../../etc/shadow', '/usr/share/OVMF', '/usr/share/other/x.fd', 'OVMF/x.fd'])(
    'from elsewhere is selected by the node, as UEFI where it was: %s',
    (path) => {
      const { xml, dropped } = inOs(`<loader type="pflash" secure="yes">${path}</loader>`);
      expect(xml).toBe('<domain type="kvm"><os firmware="efi"><loader secure="yes"/></os></domain>');
      expect(dropped).toEqual([{ code: 'firmware_replaced', detail: `the firmware ${path}; the node selects its own` }]);
    },
  );

  it('that was no UEFI does not become one', () => {
    expect(inOs('<loader type="rom">/tmp/evil-bios</loader>').xml).toBe('<domain type="kvm"><os/></domain>');
  });

  it('loses a template of its variables from elsewhere, and any with firmware from elsewhere', () => {
    const loader = '<loader type="pflash">/usr/share/OVMF/OVMF_CODE.fd</loader>';
    expect(inOs(`${loader}<nvram template="/etc/shadow">/x</nvram>`)).toMatchObject({
      xml: `<domain type="kvm"><os>${loader}<nvram>/x</nvram></os></domain>`,
      dropped: [{ code: 'firmware_replaced', detail: expect.stringContaining('/etc/shadow') }],
    });
    const { xml } = inOs('<loader type="pflash">/tmp/evil</loader><nvram template="/usr/share/OVMF/OVMF_VARS.fd">/x</nvram>');
    expect(xml).toBe('<domain type="kvm"><os firmware="efi"><nvram>/x</nvram></os></domain>');
  });
});
