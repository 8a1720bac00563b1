import { describe, expect, it } from '@jest/globals';
import type { ImageInfo } from '../../lib/qemu/qemu-img-output.js';
import type { ImageFacts } from '../storage-worker/file-calls.js';
import { chainProblem, type FoundFile, headerProblem } from './chain-check.plan.js';

const FULL = 'vm/full/disk-0.qcow2';
const INCREMENTAL = 'vm/incr/disk-0.qcow2';

function image(backing: string | null, format: string | null = backing === null ? null : 'qcow2'): ImageInfo {
  return {
    format: 'qcow2',
    virtual_size: 1024,
    actual_size: 600,
    backing_filename: backing,
    full_backing_filename: backing,
    backing_format: format,
    bitmaps: [],
    dirty: false,
    corrupt: false,
  };
}

function found(file: string, backing: string | null, changed: Partial<ImageFacts> = {}): FoundFile {
  const path = `/repo/${file}`;
  return {
    sealed: { backup_id: file, file, size_bytes: 600, sha256: 'a'.repeat(64) },
    path,
    expected_path: path,
    facts: {
      kind: 'file',
      size_bytes: 600,
      mtime_ns: '1',
      identity: 'i',
      mode: 0o600,
      links: 1,
      real_path: path,
      state: 's',
      ctime_ns: '1',
      image: image(backing),
      ...changed,
    },
  };
}

const full = found(FULL, null);
const incremental = found(INCREMENTAL, '../full/disk-0.qcow2');
const wrongFull = (changed: Partial<ImageFacts>): readonly FoundFile[] => [found(FULL, null, changed), incremental];

describe('the files of a chain', () => {
  it('may be opened as one disk when each is what was sealed and stands on the one before it', () => {
    expect(chainProblem([full], false)).toBeNull();
    expect(chainProblem([full, incremental], false)).toBeNull();
    expect(chainProblem([full, incremental], true)).toBeNull();
  });

  it('may stand on a file that is not among them where that is said', () => {
    expect(chainProblem([incremental], false, FULL)).toBeNull();
    expect(chainProblem([incremental], false)).toMatchObject({ kind: 'unsafe', reason: 'backing_file_differs' });
    expect(chainProblem([full], false, FULL)).toMatchObject({ kind: 'unsafe', reason: 'backing_file_differs' });
  });

  it('are refused with the first thing that is wrong, oldest file first, and which file it is', () => {
    const problem = chainProblem([found(FULL, null, { size_bytes: 1 }), found(INCREMENTAL, null)], false);
    expect(problem).toMatchObject({ reason: 'file_truncated', backup_id: FULL, path: `/repo/${FULL}`, file: FULL });
    expect(chainProblem([full, found(INCREMENTAL, null)], false)).toMatchObject({ backup_id: INCREMENTAL, file: INCREMENTAL });
  });
});

describe('a damaged file', () => {
  it.each([
    ['that is shorter than it was sealed', { size_bytes: 599 }, 'file_truncated'],
    ['that is longer than it was sealed', { size_bytes: 601 }, 'file_altered'],
  ])('%s is refused, unless damage is allowed', (_what, changed, reason) => {
    expect(chainProblem(wrongFull(changed), false)).toMatchObject({ kind: 'damaged', reason });
    expect(chainProblem(wrongFull(changed), true)).toBeNull();
  });

  it('that is missing is refused, unless damage is allowed', () => {
    expect(chainProblem([{ ...full, facts: 'missing' }, incremental], false)).toMatchObject({ kind: 'damaged', reason: 'file_missing' });
    expect(chainProblem([{ ...full, facts: 'missing' }, incremental], true)).toBeNull();
  });

  it('is not a way around the other rules: its length may differ, its header may not', () => {
    expect(chainProblem(wrongFull({ size_bytes: 599, image: image('/etc/shadow', 'raw') }), true)).toMatchObject({ reason: 'backing_file_differs' });
  });
});

describe('an unsafe file is refused, also where damage is allowed', () => {
  it.each([
    ['one that is reached through a symbolic link', wrongFull({ real_path: '/etc/shadow' }), 'leads_elsewhere'],
    ['one of another restore point', wrongFull({ real_path: `/repo/${INCREMENTAL}` }), 'leads_elsewhere'],
    ['one with a second name', wrongFull({ links: 2 }), 'several_links'],
    ['one without a name', wrongFull({ links: 0 }), 'several_links'],
    ['one whose header is not understood', wrongFull({ image: null }), 'header_refused'],
    ['what is no regular file', [{ ...full, facts: null }, incremental], 'not_a_regular_file'],
    ['a full that stands on a file of the host', wrongFull({ image: image('/etc/shadow', 'raw') }), 'backing_file_differs'],
    ['an incremental that stands on nothing', [full, found(INCREMENTAL, null)], 'backing_file_differs'],
    ['an incremental that stands on itself', [full, found(INCREMENTAL, 'disk-0.qcow2')], 'backing_file_differs'],
    ['a damaged one whose header leads elsewhere', wrongFull({ size_bytes: 1, real_path: '/etc/shadow' }), 'leads_elsewhere'],
  ] as const)('%s', (_what, files, reason) => {
    expect(chainProblem(files, false)).toMatchObject({ kind: 'unsafe', reason });
    expect(chainProblem(files, true)).toMatchObject({ kind: 'unsafe', reason });
  });
});

describe('the name in a header', () => {
  it.each(['../full/disk-0.qcow2', './../full/disk-0.qcow2', '..//full/./disk-0.qcow2', '../../vm/full/disk-0.qcow2'])('is right as %s', (name) => {
    expect(headerProblem(image(name), INCREMENTAL, FULL)).toBeNull();
  });

  it.each([
    ['is absolute', `/repo/${FULL}`],
    ['is absolute and looks like one of the repository', `/${FULL}`],
    ['leads out of the repository', '../../../etc/shadow'],
    ['leads out of the repository and in again', `../../../repo/${FULL}`],
    ['is of another file', '../full/disk-1.qcow2'],
    ['is a folder above', '..'],
    ['is empty', ''],
    ['is a protocol of qemu', 'nbd://evil/x'],
    ['is a description of qemu', `json:{"file":{"driver":"file","filename":"/etc/shadow"}}`],
    ['has a prefix of qemu', 'file:../full/disk-0.qcow2'],
  ])('is refused when it %s', (_what, name) => {
    expect(headerProblem(image(name), INCREMENTAL, FULL)).toMatchObject({ kind: 'unsafe', reason: 'backing_file_differs' });
    expect(headerProblem(image(name), INCREMENTAL, null)).toMatchObject({ kind: 'unsafe', reason: 'backing_file_differs' });
  });

  it.each([null, 'raw', 'vmdk'])('is refused without the format QCOW2, which qemu would guess otherwise: %s', (format) => {
    expect(headerProblem(image('../full/disk-0.qcow2', format), INCREMENTAL, FULL)).toMatchObject({ kind: 'unsafe', reason: 'backing_file_differs' });
  });

  it('is not repeated to the reader, who may not know it: it may be of the host', () => {
    expect(headerProblem(image('/etc/shadow', 'raw'), FULL, null)?.detail).toBe('has a different backing file instead of none');
    expect(headerProblem(image(null), INCREMENTAL, FULL)?.detail).toBe(`has no backing file instead of ${FULL}`);
  });
});
