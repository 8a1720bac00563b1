/** QCOW2 header: https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt */
const MAGIC = 'QFI\xfb';
const CRYPT_METHOD_AT = 32;
const INCOMPATIBLE_FEATURES_LOW_AT = 76;
const FEATURE_EXTERNAL_DATA_FILE = 1 << 2;

export const REFUSAL_HEADER_BYTES = 80;

/** @param head the first bytes of the file */
export function beginsAsQcow2(head: Buffer): boolean {
  return head.toString('latin1', 0, MAGIC.length) === MAGIC;
}

/** Bitmaps require version 3. @param head of a file that begins like a QCOW2 image */
export function qcow2Version(head: Buffer): number {
  return head.readUInt32BE(4);
}

/**
 * Refuses images that a hub could not restore from the data alone, or that would make qemu open an unchecked file. @param head REFUSAL_HEADER_BYTES of the
 * file, or all of it
 */
export function qcow2Refusal(head: Buffer): string | null {
  if (!beginsAsQcow2(head)) return 'It does not begin like a QCOW2 image.';
  if (head.length < REFUSAL_HEADER_BYTES) return 'Its QCOW2 header is truncated.';
  if (head.readUInt32BE(CRYPT_METHOD_AT) !== 0) return 'Encrypted QCOW2 images cannot be backed up.';
  if (qcow2Version(head) >= 3 && (head.readUInt32BE(INCOMPATIBLE_FEATURES_LOW_AT) & FEATURE_EXTERNAL_DATA_FILE) !== 0)
    return 'QCOW2 images with an external data file cannot be backed up.';
  return null;
}
