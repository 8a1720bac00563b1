/**
 * Reads a guest's files in a separate process, so that a damaged or hostile file system cannot harm the hub. Arguments: the root directory, and for a stream
 * its StreamRequest as JSON; the stream is written to standard output. Without a StreamRequest, the process answers BrowserRequests until its parent
 * disconnects.
 */
import { constants, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { Writable } from 'node:stream';
import { serveParent } from '../../../../lib/process/serve-parent.js';
import { BrowserError, type BrowserRequest, type StreamFailure, type StreamRequest } from './browser-protocol.js';
import { GuestArchive } from './guest-archive.js';
import { browserErrorOf, GuestTree, shown } from './guest-tree.js';

const COPY_BYTES = 1024 * 1024;
const STANDARD_OUTPUT = 1;
const STANDARD_ERROR = 2;

const [root, stream] = process.argv.slice(2);
if (root === undefined) throw new Error('the root directory argument is missing');
const tree = new GuestTree(root);
if (stream === undefined) serve();
else await writeStream(JSON.parse(stream) as StreamRequest); // written by the one caller of this program

function serve(): void {
  serveParent(
    (task) => {
      const { kind, request } = task as BrowserRequest; // sent by MountBrowser
      return kind === 'list' ? tree.list(request) : tree.info(request);
    },
    (error) => {
      const { code, message } = browserErrorOf(error, []);
      return { code, message };
    },
  );
}

async function writeStream(request: StreamRequest): Promise<void> {
  try {
    if (request.kind === 'file') await copyFile(request);
    else await archive(request);
  } catch (error) {
    // The reader has gone and needs no answer.
    if (error instanceof Error && 'code' in error && error.code === 'EPIPE') process.exit(1);
    const { code, message } = browserErrorOf(error, []);
    writeSync(STANDARD_ERROR, `${JSON.stringify({ code, message } satisfies StreamFailure)}\n`);
    process.exit(1);
  }
}

async function copyFile(request: Extract<StreamRequest, { kind: 'file' }>): Promise<void> {
  const { path } = await tree.find(request, true);
  const unreadable = (error: unknown): never => {
    throw browserErrorOf(error, path);
  };
  // These flags open no symbolic link and do not block on a FIFO.
  const file = await open(tree.hostPath(path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(unreadable);
  try {
    if (!(await file.stat().catch(unreadable)).isFile()) throw new BrowserError('not_a_regular_file', `${shown(path)} is not a regular file`);
    const buffers = [Buffer.allocUnsafe(COPY_BYTES), Buffer.allocUnsafe(COPY_BYTES)] as const;
    const read = (done: number, turn: number): Promise<{ readonly bytesRead: number; readonly buffer: Buffer }> => {
      const reading = file.read(buffers[turn % 2 === 0 ? 0 : 1], 0, Math.min(COPY_BYTES, request.length - done), request.start + done);
      // Awaited only after the previous piece is written.
      reading.catch(() => undefined);
      return reading;
    };
    let ahead = read(0, 0);
    for (let done = 0, turn = 1; done < request.length; turn++) {
      const { bytesRead, buffer } = await ahead.catch(unreadable);
      if (bytesRead === 0) throw new BrowserError('file_unreadable', `${shown(path)} ends after ${request.start + done} bytes`);
      done += bytesRead;
      // The next piece is read while this one is written.
      if (done < request.length) ahead = read(done, turn);
      writeAll(buffer.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}

/** Synchronous: reading ahead, the only other work of this process, runs in another thread. */
function writeAll(bytes: Buffer): void {
  for (let done = 0; done < bytes.length;) {
    try {
      done += writeSync(STANDARD_OUTPUT, bytes, done);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

async function archive(request: Extract<StreamRequest, { kind: 'archive' }>): Promise<void> {
  const { path, stats } = await tree.find(request, true);
  if (!stats.isDirectory()) throw new BrowserError('not_a_directory', `${shown(path)} is not a directory`);
  // Not a stream of node:fs: the reader may have made the pipe non-blocking, and node:fs then fails instead of waiting.
  const output = new Writable({
    write(chunk: Buffer, _encoding, done) {
      try {
        writeAll(chunk);
        done();
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)));
      }
    },
  });
  const archived = new GuestArchive(tree, path);
  const failed = new Promise<never>((_, reject) => output.once('error', reject));
  await Promise.race([request.format === 'zip' ? archived.writeZip(output) : archived.writeTarGz(output), failed]);
}
