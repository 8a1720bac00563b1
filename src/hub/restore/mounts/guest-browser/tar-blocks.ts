/** One member of a tar archive. Texts have one character per byte. */
export interface TarMember {
  readonly name: string;
  readonly type: 'file' | 'directory' | 'symlink';
  /** Permissions with the special bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** In bytes; 0 unless a file. */
  readonly size: number;
  /** Seconds since 1970. */
  readonly mtime: number;
  readonly linkTarget: string;
}

const BLOCK = 512;
const NAME_BYTES = 100;
const FLAG = { file: '0', directory: '5', symlink: '2' } as const;

/**
 * The header blocks of a member, in the GNU format: names are arbitrary bytes of any length, which pax headers (UTF-8) cannot represent. GNU tar, bsdtar,
 * Python and 7-Zip read this format.
 */
export function tarHeader(member: TarMember): Buffer {
  const blocks: Buffer[] = [];
  if (member.linkTarget.length > NAME_BYTES) blocks.push(longText('K', member.linkTarget));
  if (member.name.length > NAME_BYTES) blocks.push(longText('L', member.name));
  blocks.push(header(member.name, FLAG[member.type], member));
  return Buffer.concat(blocks);
}

/** Pads content of `size` bytes to a whole block. */
export function tarPadding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}

/** End-of-archive marker. */
export function tarEnd(): Buffer {
  return Buffer.alloc(2 * BLOCK);
}

function longText(flag: 'K' | 'L', text: string): Buffer {
  const content = Buffer.from(`${text}\0`, 'latin1');
  const head = header('././@LongLink', flag, { mode: 0o644, uid: 0, gid: 0, size: content.length, mtime: 0, linkTarget: '' });
  return Buffer.concat([head, content, tarPadding(content.length)]);
}

function header(name: string, flag: string, member: Omit<TarMember, 'name' | 'type'>): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.write(name.slice(0, NAME_BYTES), 0, 'latin1');
  number(block, member.mode, 100, 8);
  number(block, member.uid, 108, 8);
  number(block, member.gid, 116, 8);
  number(block, member.size, 124, 12);
  number(block, Math.floor(member.mtime), 136, 12);
  block.write(flag, 156, 'latin1');
  block.write(member.linkTarget.slice(0, NAME_BYTES), 157, 'latin1');
  block.write('ustar  \0', 257, 'latin1');
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** Octal if it fits; otherwise binary with the highest bit set, GNU's encoding for large and negative numbers. */
function number(block: Buffer, value: number, offset: number, width: number): void {
  if (value >= 0 && value < 8 ** (width - 1)) {
    block.write(`${value.toString(8).padStart(width - 1, '0')}\0`, offset, 'latin1');
    return;
  }
  let rest = BigInt.asUintN(8 * width, BigInt(value));
  for (let index = offset + width - 1; index >= offset; index--) {
    block[index] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  block[offset] = value < 0 ? 0xff : ((block[offset] ?? 0) & 0x7f) | 0x80;
}
