import { isAbsolute } from 'node:path';
import { Injectable } from '@nestjs/common';
import { object, wholeNumber } from '../json-shape/json-shape.js';
import { runTool } from '../process/run-tool.js';
import { imageFileName, type ImageChain } from './image-chain.plan.js';
import { type ImageGraph, imageName } from './image-graph.plan.js';
import { type ImageCheck, type ImageInfo, parseCheck, parseImageInfo } from './qemu-img-output.js';

export interface NewImage {
  /** Absolute. An existing file is overwritten. */
  readonly path: string;
  /** Virtual size. */
  readonly sizeBytes: number;
  /** Written into the header unchanged; a relative name is resolved against the image's own directory. */
  readonly backing?: { readonly file: string; readonly format: 'qcow2' | 'raw' };
}

/** Checking reads all metadata: minutes for a large image on slow storage. */
const CHECK_DEADLINE_MS = 30 * 60_000;
/** Measuring queries every extent of the chain. */
const MEASURE_DEADLINE_MS = 5 * 60_000;
const COMPARE_DEADLINE_MS = 6 * 60 * 60_000;

/**
 * qemu-img on local files. Names may contain anything but NUL: as absolute paths they cannot be mistaken for options or for protocols (`nbd:...`).
 * Every method throws ToolError when the tool is missing, fails or hangs.
 */
@Injectable()
export class QemuImg {
  /** Such as `7.2.17 (Debian 1:7.2+dfsg-7+deb12u16)`. */
  async version(): Promise<string> {
    const { stdout } = await runTool(['qemu-img', '--version'], { repeatable: true });
    return /^qemu-img version (.+)$/m.exec(stdout)?.[1] ?? stdout.trim();
  }

  /** format: how to open it; without it qemu guesses from the content, which the writer of a raw disk can forge. */
  async info(path: string, options: { readonly format?: string; readonly signal?: AbortSignal } = {}): Promise<ImageInfo> {
    const format = options.format === undefined ? [] : ['-f', options.format];
    const { stdout } = await runTool(['qemu-img', 'info', '--output=json', ...format, absolute(path)], { signal: options.signal, repeatable: true });
    return parseImageInfo(path, stdout);
  }

  /**
   * Like info(), for the image with this graph, whatever its header names; fails while a qemu has it open for writing. @param inherited files for names in the
   * graph
   */
  async infoOf(image: ImageGraph, inherited: readonly number[] = []): Promise<ImageInfo> {
    const { stdout } = await runTool(['qemu-img', 'info', '--output=json', imageName(image)], { inherited, repeatable: true });
    return parseImageInfo(image.path, stdout);
  }

  /** Creates a QCOW2 image. */
  async create(image: NewImage): Promise<void> {
    const backing = image.backing === undefined ? [] : ['-b', withoutProtocol(image.backing.file), '-F', image.backing.format];
    await runTool(['qemu-img', 'create', '-q', '-f', 'qcow2', ...backing, absolute(image.path), `${image.sizeBytes}`]);
  }

  /** Checks a QCOW2 image's own consistency; damage is a result, not an error. */
  async check(path: string, signal?: AbortSignal): Promise<ImageCheck> {
    const { stdout, stderr } = await runTool(['qemu-img', 'check', '--output=json', '-f', 'qcow2', absolute(path)], {
      deadlineMs: CHECK_DEADLINE_MS,
      signal,
      // 2: errors, 3: only leaks. 1 means that the check itself failed.
      expectedExitCodes: [0, 2, 3],
    });
    return parseCheck(path, stdout, stderr);
  }

  /** Space that a chain takes as one sparse file, in bytes; other formats without holes take about the same. */
  async measure(chain: ImageChain): Promise<number> {
    const { stdout } = await runTool(['qemu-img', 'measure', '--output=json', '-O', 'qcow2', imageFileName(chain)], {
      deadlineMs: MEASURE_DEADLINE_MS,
    });
    return wholeNumber(object(JSON.parse(stdout), `qemu-img measure of ${chain.at(-1) ?? ''}`)['required'], 'required');
  }

  /** Changes the backing file's name in a QCOW2 header and nothing else. */
  async renameBacking(path: string, backing: { readonly file: string; readonly format: 'qcow2' | 'raw' }): Promise<void> {
    await runTool(['qemu-img', 'rebase', '-u', '-f', 'qcow2', '-b', withoutProtocol(backing.file), '-F', backing.format, absolute(path)]);
  }

  /** Adds a persistent bitmap that records every write from now on. granularityBytes: a power of two from 512 to 2 GiB. @param inherited as infoOf */
  async addBitmap(image: ImageGraph, name: string, granularityBytes: number, inherited: readonly number[] = []): Promise<void> {
    await runTool(['qemu-img', 'bitmap', '--add', '-g', `${granularityBytes}`, imageName(image), name], { inherited });
  }

  /** Removes a bitmap, even an inconsistent one. Fails when there is no bitmap of that name. @param inherited as infoOf */
  async removeBitmap(image: ImageGraph, name: string, inherited: readonly number[] = []): Promise<void> {
    await runTool(['qemu-img', 'bitmap', '--remove', imageName(image), name], { inherited });
  }

  /** Compares the contents of two disks byte for byte, whatever their formats. */
  async compare(a: string, b: string): Promise<{ readonly identical: boolean; readonly detail: string }> {
    const { stdout, exitCode } = await runTool(['qemu-img', 'compare', absolute(a), absolute(b)], {
      deadlineMs: COMPARE_DEADLINE_MS,
      expectedExitCodes: [0, 1],
    });
    return { identical: exitCode === 0, detail: stdout.trim() };
  }
}

function absolute(path: string): string {
  if (!isAbsolute(path)) throw new Error(`image path ${path} is not absolute`);
  return path;
}

/** qemu parses `a:b` as protocol `a`, unless a slash precedes the colon. */
function withoutProtocol(file: string): string {
  return /^[^/]*:/.test(file) ? `./${file}` : file;
}
