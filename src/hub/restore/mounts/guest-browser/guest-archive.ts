import { once } from 'node:events';
import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, readSync, type Stats } from 'node:fs';
import { Readable, type Writable } from 'node:stream';
import { createGzip } from 'node:zlib';
import { ZipFile } from 'yazl';
import { messageOf } from '../../../../kernel/error-message.js';
import { percentEncode, utf8Of } from './guest-name.js';
import { type GuestPath, type GuestTree, shown, typeOf } from './guest-tree.js';
import { tarEnd, tarHeader, tarPadding } from './tar-blocks.js';

const READ_BYTES = 256 * 1024;
/** Tar blocks are passed to the compressor in batches of about this size: per-block calls would spend most of the time waiting. */
const BATCH_BYTES = 256 * 1024;
/** Maximum number of lines in the note about missing members. */
const MAX_NOTES = 10_000;

/** Name of the note at the top level of an incomplete archive. */
export const NOTE_NAME = 'NOT-IN-THIS-ARCHIVE.txt';

const SET_ID = 0o6000;

interface Member {
  readonly path: GuestPath;
  /** Name in the archive, one character per byte. */
  readonly name: string;
  readonly stats: Stats;
}

/**
 * A directory as a streamed archive, with names, modes, times and symbolic links. Set-user-ID and set-group-ID bits are dropped, because the archive may be
 * unpacked by root elsewhere. Links are kept as links and never followed. Devices, FIFOs, sockets and unreadable entries are left out and listed in a note at
 * the end. This runs in a separate process, so it reads synchronously, which is several times faster for small files.
 */
export class GuestArchive {
  private readonly notes: string[] = [];

  constructor(
    private readonly tree: GuestTree,
    private readonly top: GuestPath,
  ) {}

  async writeTarGz(output: Writable): Promise<void> {
    const gzip = createGzip({ chunkSize: BATCH_BYTES });
    gzip.pipe(output);
    const batch: Buffer[] = [];
    let batched = 0;
    const push = async (bytes: Buffer): Promise<void> => {
      batch.push(bytes);
      batched += bytes.length;
      if (batched >= BATCH_BYTES) await flush();
    };
    const flush = async (): Promise<void> => {
      const bytes = Buffer.concat(batch.splice(0));
      batched = 0;
      if (bytes.length > 0 && !gzip.write(bytes)) await once(gzip, 'drain');
    };
    for await (const { path, name, stats } of this.members()) {
      const common = { mode: stats.mode & 0o7777 & ~SET_ID, uid: stats.uid, gid: stats.gid, mtime: stats.mtimeMs / 1000 };
      switch (typeOf(stats)) {
        case 'directory':
          await push(tarHeader({ ...common, name: `${name}/`, type: 'directory', size: 0, linkTarget: '' }));
          break;
        case 'symlink': {
          const linkTarget = this.linkTarget(path);
          if (linkTarget !== null) await push(tarHeader({ ...common, name, type: 'symlink', size: 0, linkTarget }));
          break;
        }
        default: {
          const file = this.open(path);
          if (file === null) break;
          await push(tarHeader({ ...common, name, type: 'file', size: file.size, linkTarget: '' }));
          for (const chunk of this.contents(path, file)) await push(chunk);
          await push(tarPadding(file.size));
        }
      }
    }
    const note = this.note();
    if (note !== null) {
      await push(tarHeader({ name: NOTE_NAME, type: 'file', mode: 0o644, uid: 0, gid: 0, size: note.length, mtime: 0, linkTarget: '' }));
      await push(Buffer.concat([note, tarPadding(note.length)]));
    }
    await push(tarEnd());
    await flush();
    gzip.end();
    await once(output, 'finish');
  }

  async writeZip(output: Writable): Promise<void> {
    const zip = new ZipFile();
    zip.outputStream.pipe(output);
    const taken = new Set([NOTE_NAME]);
    let refused: string | null = null;
    for await (const { path, name, stats } of this.members()) {
      if (refused !== null && name.startsWith(refused)) continue;
      const options = { mtime: stats.mtime, mode: stats.mode & ~SET_ID };
      const zipName = zipNameOf(name);
      if (taken.has(zipName)) {
        // A link and a directory of the same name would make the unpacker write through the link.
        this.leaveOut(path, 'another entry has the same name in the archive; download this one separately, or use tar.gz');
        refused = `${name}/`;
        continue;
      }
      taken.add(zipName);
      switch (typeOf(stats)) {
        case 'directory':
          zip.addEmptyDirectory(zipName, options);
          break;
        case 'symlink': {
          const target = this.linkTarget(path);
          if (target !== null) zip.addBuffer(Buffer.from(target, 'latin1'), zipName, { ...options, compress: false });
          break;
        }
        default: {
          const file = this.open(path);
          if (file === null) break;
          const content = Readable.from(this.contents(path, file), { objectMode: false });
          zip.addReadStream(content, zipName, { ...options, size: file.size });
          // One at a time, to limit open files and memory.
          await once(content, 'close');
        }
      }
    }
    const note = this.note();
    if (note !== null) zip.addBuffer(note, NOTE_NAME, { mtime: new Date(0), mode: 0o100644 });
    zip.end();
    await once(output, 'finish');
  }

  private async *members(): AsyncGenerator<Member> {
    const top = this.top.at(-1);
    if (top !== undefined) yield { path: this.top, name: top, stats: lstatSync(this.tree.hostPath(this.top)) };
    yield* this.below(this.top, top ?? null);
  }

  private async *below(folder: GuestPath, prefix: string | null): AsyncGenerator<Member> {
    let names: readonly string[] = [];
    try {
      names = await this.tree.names(folder);
    } catch (error) {
      this.leaveOut(folder, error);
    }
    for (const each of names) {
      const path = [...folder, each];
      let stats: Stats;
      try {
        stats = lstatSync(this.tree.hostPath(path));
      } catch (error) {
        this.leaveOut(path, error);
        continue;
      }
      const type = typeOf(stats);
      if (type !== 'file' && type !== 'directory' && type !== 'symlink') {
        this.leaveOut(path, type);
        continue;
      }
      const name = prefix === null ? each : `${prefix}/${each}`;
      yield { path, name, stats };
      if (type === 'directory') yield* this.below(path, name);
    }
  }

  private open(path: GuestPath): { readonly descriptor: number; readonly size: number } | null {
    let descriptor: number | null = null;
    try {
      // These flags open no symbolic link and do not block on a FIFO, whatever a damaged file system reports for the name.
      descriptor = openSync(this.tree.hostPath(path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      const stats = fstatSync(descriptor);
      if (!stats.isFile()) throw new Error('it is not a regular file');
      return { descriptor, size: stats.size };
    } catch (error) {
      if (descriptor !== null) closeSync(descriptor);
      this.leaveOut(path, error);
      return null;
    }
  }

  /** Exactly the announced number of bytes: unreadable parts become zeros and are noted. Closes the file. */
  private *contents(path: GuestPath, file: { readonly descriptor: number; readonly size: number }): Generator<Buffer> {
    let position = 0;
    try {
      while (position < file.size) {
        const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, file.size - position));
        const length = readSync(file.descriptor, buffer, 0, buffer.length, position);
        if (length === 0) throw new Error('the file ends early');
        position += length;
        yield length === buffer.length ? buffer : buffer.subarray(0, length);
      }
    } catch (error) {
      this.leaveOut(path, `zeros replace its content from byte ${position} on: ${wordOf(error)}`);
    } finally {
      closeSync(file.descriptor);
    }
    while (position < file.size) {
      const zeros = Buffer.alloc(Math.min(READ_BYTES, file.size - position));
      position += zeros.length;
      yield zeros;
    }
  }

  private linkTarget(path: GuestPath): string | null {
    try {
      return readlinkSync(this.tree.hostPath(path), 'latin1');
    } catch (error) {
      this.leaveOut(path, error);
      return null;
    }
  }

  private leaveOut(path: GuestPath, why: unknown): void {
    if (this.notes.length < MAX_NOTES) this.notes.push(`${shown(path)}: ${wordOf(why)}`);
    else if (this.notes.length === MAX_NOTES) this.notes.push('and more');
  }

  private note(): Buffer | null {
    return this.notes.length === 0 ? null : Buffer.from(`The following entries are missing from this archive or incomplete:\n${this.notes.join('\n')}\n`);
  }
}

/** Names in a zip are UTF-8. Readers interpret a backslash as a slash, and a letter with a colon as a drive. */
function zipNameOf(name: string): string {
  const text = utf8Of(name) ?? percentEncode(name);
  return text.replaceAll('\\', '%5C').replace(/^([A-Za-z]):/, '$1%3A');
}

function wordOf(why: unknown): string {
  if (why instanceof Error && 'code' in why && typeof why.code === 'string') return why.code;
  return messageOf(why);
}
