import { flag, listOf, object, text, wholeNumber } from '../json-shape/json-shape.js';

export interface ImageBitmap {
  readonly name: string;
  /** Bytes per bit. */
  readonly granularity: number;
  /** `in-use`: the image was not closed cleanly while the bitmap was recording, so it cannot be trusted; `auto`: it records every write. */
  readonly flags: readonly string[];
}

/** The output of `qemu-img info`, with its member names. Sizes in bytes. */
export interface ImageInfo {
  readonly format: string;
  readonly virtual_size: number;
  /** Space allocated in the file system. */
  readonly actual_size: number;
  /** As in the image's header; null without a backing file. */
  readonly backing_filename: string | null;
  /** The backing file's name as qemu resolves it. */
  readonly full_backing_filename: string | null;
  readonly backing_format: string | null;
  readonly bitmaps: readonly ImageBitmap[];
  /** QCOW2: not closed cleanly, its reference counts may be stale. */
  readonly dirty: boolean;
  /** QCOW2: qemu has found it corrupt and marked it as such. */
  readonly corrupt: boolean;
}

export interface ImageCheck {
  /** True without any errors; leaked clusters waste space but are harmless. */
  readonly ok: boolean;
  readonly errors: number;
  readonly leaks: number;
  /** The problem in words; empty when there is none. */
  readonly detail: string;
}

/** @throws WrongShapeError when it is not the output of `qemu-img info --output=json`; SyntaxError when it is not JSON */
export function parseImageInfo(path: string, stdout: string): ImageInfo {
  const info = object(JSON.parse(stdout), `qemu-img info of ${path}`);
  const specific = info['format-specific'] === undefined ? {} : object(info['format-specific'], 'format-specific');
  const data = specific['data'] === undefined ? {} : object(specific['data'], 'format-specific.data');
  return {
    format: text(info['format'], 'format'),
    virtual_size: wholeNumber(info['virtual-size'], 'virtual-size'),
    actual_size: optional(info['actual-size'], 'actual-size', wholeNumber) ?? 0,
    backing_filename: optional(info['backing-filename'], 'backing-filename', text),
    full_backing_filename: optional(info['full-backing-filename'], 'full-backing-filename', text),
    backing_format: optional(info['backing-filename-format'], 'backing-filename-format', text),
    bitmaps: optional(data['bitmaps'], 'bitmaps', listOf(bitmap)) ?? [],
    dirty: optional(info['dirty-flag'], 'dirty-flag', flag) ?? false,
    corrupt: optional(data['corrupt'], 'corrupt', flag) ?? false,
  };
}

/** @throws WrongShapeError when it is not the output of `qemu-img check --output=json`; SyntaxError when it is not JSON */
export function parseCheck(path: string, stdout: string, stderr: string): ImageCheck {
  const check = object(JSON.parse(stdout), `qemu-img check of ${path}`);
  const count = (member: string): number => optional(check[member], member, wholeNumber) ?? 0;
  const errors = count('corruptions') + count('check-errors');
  const leaks = count('leaks');
  const findings = [...(errors > 0 ? [`${errors} errors`] : []), ...(leaks > 0 ? [`${leaks} leaked clusters`] : [])];
  const detail = findings.length === 0 ? '' : [findings.join(', '), stderr.trim().split('\n').slice(0, 5).join('; ')].filter((part) => part !== '').join(': ');
  return { ok: errors === 0, errors, leaks, detail };
}

function bitmap(value: unknown, where: string): ImageBitmap {
  const members = object(value, where);
  return {
    name: text(members['name'], `${where}.name`),
    granularity: wholeNumber(members['granularity'], `${where}.granularity`),
    flags: listOf(text)(members['flags'], `${where}.flags`),
  };
}

/** qemu-img omits members that do not apply. */
function optional<T>(value: unknown, where: string, read: (value: unknown, where: string) => T): T | null {
  return value === undefined ? null : read(value, where);
}
