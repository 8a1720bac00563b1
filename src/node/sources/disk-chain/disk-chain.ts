import { realpath } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { messageOf } from '../../../kernel/error-message.js';
import { inheritedName } from '../inherited-files.js';
import { errnoOf } from '../../../lib/process/system-error.js';
import type { ImageFormat, ImageGraph } from '../../../lib/qemu/image-graph.plan.js';
import { qcow2InfoOf } from '../../../lib/qemu/qcow2-info.reader.js';
import type { ImageInfo } from '../../../lib/qemu/qemu-img-output.js';
import type { Failure } from '../../model/job.state.js';
import { HeldFile, NotThisFileError } from './held-file.js';
import { beginsAsQcow2, qcow2Refusal, qcow2Version, REFUSAL_HEADER_BYTES } from './qcow2-refusal.plan.js';

/** How a file may be used. `by header`: as qcow2 or raw, whichever its header indicates; only for files that no guest has written. */
export type ParentVerdict = { readonly format: ImageFormat | 'by header' } | { readonly refusal: string };

/** Which files a disk may be based on. A header is only a request: anyone who can write the image could name any file of this machine. */
export interface ChainRules {
  parent(realPath: string): Promise<ParentVerdict>;
}

interface Member {
  /** Absolute; as given by the disk's place, or by the header above it. */
  readonly path: string;
  readonly file: HeldFile;
  readonly format: ImageFormat;
  /** null: raw. */
  readonly info: ImageInfo | null;
  /** Whether it can hold persistent bitmaps. */
  readonly tracking: boolean;
}

const MAX_CHAIN = 200;

/** Location of a disk's file. */
export interface DiskPlace {
  /** A relative name in its header is relative to this file's folder. */
  readonly path: string;
  /** Without symbolic links. */
  readonly realPath: string;
}

/** A disk's file and its backing files, each checked and held open. No tool opens any of them before all are known to be allowed. */
export class DiskChain {
  private constructor(
    private readonly members: readonly Member[],
    /** Why no tool may open it, without the disk's name; null: it is allowed. */
    readonly problem: Failure | null,
  ) {}

  /** @throws NotThisFileError; the system's error for the top file */
  static async open(place: DiskPlace, format: ImageFormat, rules: ChainRules): Promise<DiskChain> {
    const members: Member[] = [];
    try {
      const problem = await walk(place, format, rules, members);
      return new DiskChain(members, problem);
    } catch (error) {
      await Promise.all(members.map(({ file }) => file.close()));
      throw error;
    }
  }

  get top(): Member {
    const [top] = this.members;
    if (top === undefined) throw new Error('a chain without a disk');
    return top;
  }

  /** All but the top, nearest first. */
  get parents(): readonly Member[] {
    return this.members.slice(1);
  }

  get identities(): readonly string[] {
    return this.members.map(({ file }) => file.identity);
  }

  /** Descriptors that tools must inherit to open `graph` or `topGraph`. */
  get descriptors(): readonly number[] {
    return this.members.map(({ file }) => file.handle.fd);
  }

  /** For tools that read the disk. @param nameOf path by which the tool opens the file with this index in `identities` */
  graph(nameOf: (index: number) => string = inheritedName): ImageGraph {
    if (this.problem !== null) throw new Error(`a refused chain (${this.problem.code}) must not be passed to a tool`);
    const below = this.parents.reduceRight<ImageGraph | null>((backing, parent, index) => nodeOf(parent, nameOf(index + 1), backing), null);
    return nodeOf(this.top, nameOf(0), below);
  }

  /** For tools that inspect only the top file, or change something other than the disk's data. */
  topGraph(): ImageGraph {
    return nodeOf(this.top, inheritedName(0), null);
  }

  /** As HeldFile.witness, over all its files. */
  async witness(): Promise<string> {
    return (await Promise.all(this.members.map(({ file }) => file.witness()))).join(' ');
  }

  async close(): Promise<void> {
    await Promise.all(this.members.map(({ file }) => file.close()));
  }
}

/** Opens the chain, and closes it afterwards. */
export async function withChain<Result>(
  place: DiskPlace,
  format: ImageFormat,
  rules: ChainRules,
  work: (chain: DiskChain) => Promise<Result>,
): Promise<Result> {
  const chain = await DiskChain.open(place, format, rules);
  try {
    return await work(chain);
  } finally {
    await chain.close();
  }
}

function nodeOf({ file, format }: Member, path: string, backing: ImageGraph | null): ImageGraph {
  return { path, format, isDevice: file.isDevice, backing };
}

/** Adds each file it opens to the members. @returns why the chain is refused; null: it is allowed */
async function walk(place: DiskPlace, topFormat: ImageFormat, rules: ChainRules, members: Member[]): Promise<Failure | null> {
  let named = place.path;
  let below = await addMember(await HeldFile.open(place.realPath), named, topFormat, members);
  if ('refusal' in below) return { code: 'format_unsupported', detail: below.refusal };
  while (below.info !== null && below.info.full_backing_filename !== null) {
    const { full_backing_filename: wanted, backing_format: wantedFormat } = below.info;
    const refused = (why: string): Failure => ({ code: 'backing_file_refused', detail: `Its backing file "${wanted}" ${why}` });
    if (wantedFormat !== null && wantedFormat !== 'qcow2' && wantedFormat !== 'raw')
      return refused(`is of format "${wantedFormat}"; only qcow2 and raw are read.`);
    named = isAbsolute(wanted) ? wanted : join(dirname(named), wanted);
    const real = await realpath(named).catch(() => null);
    if (real === null) return refused('does not exist.');
    const verdict = await rules.parent(real);
    if ('refusal' in verdict) return refused(verdict.refusal);
    if (verdict.format !== 'by header' && wantedFormat !== null && verdict.format !== wantedFormat)
      return refused(`is ${verdict.format}, and the header above it says ${wantedFormat}.`);
    if (members.some(({ file: { realPath } }) => realPath === real) || members.length >= MAX_CHAIN) return refused('makes a chain without end.');
    const parent = await openParent(real);
    if ('why' in parent) return refused(parent.why);
    const format = verdict.format === 'by header' ? (wantedFormat ?? ((await beginsLikeQcow2(parent.file)) ? 'qcow2' : 'raw')) : verdict.format;
    below = await addMember(parent.file, named, format, members);
    if ('refusal' in below) return refused(`cannot be used. ${below.refusal}`);
  }
  return null;
}

/** From here on the member owns the file, which is closed with it. */
async function addMember(
  file: HeldFile,
  path: string,
  format: ImageFormat,
  members: Member[],
): Promise<{ readonly info: ImageInfo | null } | { readonly refusal: string }> {
  const index = members.push({ path, file, format, info: null, tracking: false }) - 1;
  if (format === 'raw') return { info: null };
  const head = await file.head(REFUSAL_HEADER_BYTES);
  const refusal = qcow2Refusal(head);
  if (refusal !== null) return { refusal };
  const info = await qcow2InfoOf(file.handle, path).catch((error: unknown) => {
    if (errnoOf(error) !== null) throw error;
    return null;
  });
  if (info === null) return { refusal: 'Its QCOW2 header is damaged, names its backing file by a protocol, or has unknown features.' };
  members[index] = { path, file, format, info, tracking: qcow2Version(head) >= 3 };
  return { info };
}

async function openParent(real: string): Promise<{ readonly file: HeldFile } | { readonly why: string }> {
  try {
    return { file: await HeldFile.open(real) };
  } catch (error) {
    if (error instanceof NotThisFileError) return { why: `cannot be used: ${error.message}` };
    if (errnoOf(error) === null) throw error;
    return { why: `cannot be read: ${messageOf(error)}` };
  }
}

async function beginsLikeQcow2(file: HeldFile): Promise<boolean> {
  return beginsAsQcow2(await file.head(4));
}
