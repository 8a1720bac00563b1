import { seeded } from './seeded.js';

const MIB = 1024 * 1024;
const CLUSTER = 65_536;
const HEADER_LENGTH = 112;
const EXTENSIONS = { backingFormat: 0xe2792aca, dataFile: 0x44415441, crypto: 0x0537be77, features: 0x6803f857, bitmaps: 0x23852875 } as const;
const DATA_FILE_BIT = 4;

export interface HeaderChoices {
  readonly backingName?: string;
  readonly backingFormat?: string;
  /** Name of an external data file, with its feature bit. */
  readonly dataFile?: string;
  readonly sizeBytes?: number;
}

/** A QCOW2 image without data: header, reference counts and an empty first-level table, 4 clusters. */
export function qcow2Image(choices: HeaderChoices = {}): Buffer {
  const { backingName, backingFormat, dataFile, sizeBytes = MIB } = choices;
  const image = Buffer.alloc(4 * CLUSTER);
  image.write('QFI\xfb', 0, 'latin1');
  image.writeUInt32BE(3, 4);
  image.writeUInt32BE(16, 20);
  image.writeBigUInt64BE(BigInt(sizeBytes), 24);
  image.writeUInt32BE(Math.min(Math.max(1, Math.ceil(sizeBytes / (512 * MIB))), 2 ** 32 - 1), 36);
  image.writeBigUInt64BE(BigInt(3 * CLUSTER), 40);
  image.writeBigUInt64BE(BigInt(CLUSTER), 48);
  image.writeUInt32BE(1, 56);
  image.writeUInt32BE(4, 96);
  image.writeUInt32BE(HEADER_LENGTH, 100);
  image.writeBigUInt64BE(BigInt(2 * CLUSTER), CLUSTER);
  for (let cluster = 0; cluster < 4; cluster++) image.writeUInt16BE(1, 2 * CLUSTER + 2 * cluster);
  let at = HEADER_LENGTH;
  const extend = (type: number, data: string): void => {
    image.writeUInt32BE(type, at);
    image.writeUInt32BE(Buffer.byteLength(data), at + 4);
    image.write(data, at + 8);
    at += 8 + Math.ceil(Buffer.byteLength(data) / 8) * 8;
  };
  if (backingFormat !== undefined) extend(EXTENSIONS.backingFormat, backingFormat);
  if (dataFile !== undefined) {
    extend(EXTENSIONS.dataFile, dataFile);
    image.writeUInt32BE(DATA_FILE_BIT, 76);
  }
  if (backingName !== undefined) {
    const nameAt = at + 64;
    image.writeBigUInt64BE(BigInt(nameAt), 8);
    image.writeUInt32BE(Buffer.byteLength(backingName), 16);
    image.write(backingName, nameAt);
  }
  return image;
}

/** A VMDK that is a text, and has its data in another file. */
export function vmdkDescriptor(extent: string): string {
  return [
    '# Disk DescriptorFile',
    'version=1',
    'CID=12345678',
    'parentCID=ffffffff',
    'createType="monolithicFlat"',
    `RW 128 FLAT "${extent}" 0`,
    'ddb.geometry.cylinders = "1"',
    'ddb.geometry.heads = "1"',
    'ddb.geometry.sectors = "1"',
    '',
  ].join('\n');
}

export type HostileFile = { readonly name: string } & ({ readonly content: Buffer | string } | { /** Where a symbolic link leads. */ readonly link: string });

/** A file that must not be opened. */
export interface ForbiddenFile {
  /** Absolute path. */
  readonly outside: string;
  /** The same from the folder of the image. */
  readonly relative: string;
}

/** Files of a disk folder that do their best to have one of the forbidden files opened. The same for the same seed. */
export function hostileFiles(seed: number, forbidden: readonly ForbiddenFile[]): readonly HostileFile[] {
  const random = seeded(seed);
  const chance = (share: number): boolean => random() < share;
  const below = (limit: number): number => Math.floor(random() * limit);
  const oneOf = <Choice>(choices: readonly Choice[]): Choice => choices[below(choices.length)] as Choice; // none of the lists is empty
  const { outside, relative } = oneOf(forbidden);

  const names = [
    ...[outside, relative, `file:${outside}`, `./${relative}`, `/proc/self/root${outside}`, `host_device:${outside}`, `fat:${outside}`, `raw:${outside}`],
    ...[
      'parent.raw',
      'parent.qcow2',
      'parent.img',
      'parent',
      'link.raw',
      'link.qcow2',
      './parent.raw',
      '/proc/self/fd/4',
      '/dev/fd/5',
      '..',
      '.',
      'missing.raw',
    ],
    `json:{"driver":"raw","file":{"driver":"file","filename":"${outside}"}}`,
    `json:{"driver":"qcow2","file":{"driver":"file","filename":"parent.qcow2"},"data-file":{"driver":"file","filename":"${outside}"}}`,
    ...[`nbd+unix:///?socket=${outside}`, `${outside}\0.raw`, `parent.raw\0${outside}`, 'x'.repeat(1023), `${'../'.repeat(60)}${outside.slice(1)}`],
  ];
  const formats = ['raw', 'qcow2', 'vmdk', 'vhdx', 'vpc', 'parallels', 'qed', 'luks', 'file', 'host_device', '', 'RAW', 'raw\0', 'x'.repeat(40)];
  const sizes = [0, 1, 512, 65_536, MIB, 2 ** 40, 2 ** 53 - 1, 2 ** 62];

  const image = (): Buffer => {
    const bytes = qcow2Image({
      ...(chance(0.7) ? { backingName: oneOf(names) } : {}),
      ...(chance(0.6) ? { backingFormat: oneOf(formats) } : {}),
      ...(chance(0.2) ? { dataFile: oneOf(names) } : {}),
      sizeBytes: chance(0.8) ? MIB : oneOf(sizes),
    });
    if (chance(0.1)) bytes.writeUInt32BE(below(6), 4);
    if (chance(0.1)) bytes.writeUInt32BE(below(64), 20);
    if (chance(0.1)) bytes.writeUInt32BE(oneOf([1, 2, 3, 99]), 32);
    if (chance(0.1)) bytes.writeUInt32BE(oneOf([0, 1, 2 ** 20, 2 ** 32 - 1]), 36);
    // Incompatible, compatible and auto-clear features; of the data file's bit also without its extension, and the other way round.
    if (chance(0.25)) bytes.writeUInt32BE(oneOf([0, 1, 2, 4, 8, 16, 32, 2 ** 31, below(2 ** 32)]), 76);
    if (chance(0.1)) bytes.writeUInt32BE(below(2 ** 32), 72);
    if (chance(0.1)) bytes.writeUInt32BE(oneOf([1, 2, 3, below(2 ** 32)]), 92);
    if (chance(0.1)) bytes.writeUInt32BE(oneOf([0, 72, 104, 111, 120, 65_536, 2 ** 32 - 1]), 100);
    if (chance(0.1)) bytes.writeUInt32BE(oneOf([0, 1, 1023, 1024, 65_536, 2 ** 32 - 1]), 16);
    if (chance(0.1)) bytes.writeBigUInt64BE(oneOf([0n, 1n, 104n, 65_535n, 2n ** 40n, 2n ** 64n - 1n]), 8);
    if (chance(0.1)) bytes.writeUInt32BE(oneOf([EXTENSIONS.crypto, EXTENSIONS.features, EXTENSIONS.bitmaps, below(2 ** 32)]), HEADER_LENGTH);
    if (chance(0.1)) bytes.writeUInt32BE(oneOf([0, 1, 7, 65_536, 2 ** 32 - 1]), HEADER_LENGTH + 4);
    for (let flips = chance(0.2) ? below(8) : 0; flips > 0; flips--) bytes[below(512)] = below(256);
    return chance(0.1) ? bytes.subarray(0, oneOf([0, 3, 4, 72, 79, 103, 104, 200, 4096, 65_536])) : bytes;
  };
  const other = (): Buffer | string =>
    oneOf([
      () => vmdkDescriptor(oneOf([outside, relative])),
      () => Buffer.concat([Buffer.from('KDMV\x01\0\0\0', 'latin1'), Buffer.alloc(504), Buffer.from(vmdkDescriptor(outside)), Buffer.alloc(65_536)]),
      () =>
        Buffer.concat([
          Buffer.from(oneOf(['vhdxfile', 'conectix', 'QED\0', 'LUKS\xba\xbe', 'WithoutFreeSpace', 'OOOO', 'COWD']), 'latin1'),
          Buffer.alloc(65_536),
        ]),
      () => Buffer.alloc(65_536),
    ])();

  const files: HostileFile[] = [
    { name: oneOf(['disk0.qcow2', 'disk0.qcow2', 'disk0.qcow2', 'disk0.img', 'disk0.raw']), content: chance(0.85) ? image() : other() },
    { name: 'link.raw', link: outside },
    { name: 'link.qcow2', link: oneOf([outside, relative, 'parent.qcow2']) },
  ];
  for (const name of ['parent.raw', 'parent.qcow2', 'parent.img', 'parent']) {
    if (chance(0.6)) files.push({ name, content: chance(0.5) ? image() : other() });
  }
  // A link among the disks is refused as such; without it the others are backed up.
  return chance(0.5) ? files : files.filter((file) => 'content' in file);
}
