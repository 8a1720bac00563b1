import { describe, expect, it } from '@jest/globals';
import { beginsAsQcow2, qcow2Refusal, qcow2Version, REFUSAL_HEADER_BYTES } from './qcow2-refusal.plan.js';

function header({
  version = 3,
  encryption = 0,
  features = 0,
}: { readonly version?: number; readonly encryption?: number; readonly features?: number } = {}): Buffer {
  const head = Buffer.alloc(REFUSAL_HEADER_BYTES);
  head.write('QFI\xfb', 'latin1');
  head.writeUInt32BE(version, 4);
  head.writeUInt32BE(encryption, 32);
  head.writeUInt32BE(features, 76);
  return head;
}

describe('a QCOW2 image of a source', () => {
  it.each([
    ['of version 3', header()],
    ['of version 2', header({ version: 2 })],
    ['that was not closed cleanly', header({ features: 1 })],
    ['with extended L2 entries', header({ features: 1 << 4 })],
  ])('%s can be backed up', (_what, head) => {
    expect(qcow2Refusal(head)).toBeNull();
  });

  it.each([
    ['with AES', 1],
    ['with LUKS', 2],
  ])('that is encrypted %s is refused', (_what, encryption) => {
    expect(qcow2Refusal(header({ encryption }))).toBe('Encrypted QCOW2 images cannot be backed up.');
    expect(qcow2Refusal(header({ version: 2, encryption }))).toBe('Encrypted QCOW2 images cannot be backed up.');
  });

  it('that keeps its data in another file is refused, whatever features it has besides', () => {
    expect(qcow2Refusal(header({ features: 4 }))).toBe('QCOW2 images with an external data file cannot be backed up.');
    expect(qcow2Refusal(header({ features: 0xffffffff }))).toBe('QCOW2 images with an external data file cannot be backed up.');
  });

  it('of version 2 has no features: what stands in their place is something else', () => {
    expect(qcow2Refusal(header({ version: 2, features: 4 }))).toBeNull();
  });

  it('whose header is cut off is refused', () => {
    expect(qcow2Refusal(header().subarray(0, REFUSAL_HEADER_BYTES - 1))).toBe('Its QCOW2 header is truncated.');
    expect(qcow2Refusal(header().subarray(0, 4))).toBe('Its QCOW2 header is truncated.');
  });

  it('is known by its first four bytes', () => {
    expect(beginsAsQcow2(header())).toBe(true);
    for (const other of [Buffer.alloc(REFUSAL_HEADER_BYTES), Buffer.from('QFI'), Buffer.from('xQFI\xfb', 'latin1'), Buffer.alloc(0)]) {
      expect(beginsAsQcow2(other)).toBe(false);
      expect(qcow2Refusal(other)).toBe('It does not begin like a QCOW2 image.');
    }
  });

  it('tells its version', () => {
    expect(qcow2Version(header({ version: 2 }))).toBe(2);
    expect(qcow2Version(header())).toBe(3);
  });
});
