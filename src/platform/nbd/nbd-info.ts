import { Injectable } from '@nestjs/common';
import { listOf, object, wholeNumber } from '../json-shape/json-shape.js';
import { runTool } from '../process/run-tool.js';

/** A stretch of a disk, in bytes. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

/** In base:allocation: reads as zeroes, so that a copy need not move it. */
const STATE_ZERO = 2;
const STATE_DIRTY = 1;
/** A map asks the server for every extent of the disk. */
const MAP_DEADLINE_MS = 10 * 60_000;

/** Questions to a running NBD server, asked with nbdinfo. Every method throws ToolError when the server cannot be reached or has no such export. */
@Injectable()
export class NbdInfo {
  /** Size of the export in bytes. */
  async size(uri: string, deadlineMs: number): Promise<number> {
    const { stdout } = await runTool(['nbdinfo', '--size', uri], { deadlineMs });
    return wholeNumber(Number(stdout.trim()), `size of ${uri}`);
  }

  /** What a QCOW2 bitmap or a libvirt checkpoint has recorded as changed. In order of offset, neighbours joined. */
  async dirtyExtents(uri: string, bitmapName: string, signal?: AbortSignal): Promise<readonly Extent[]> {
    const { stdout } = await runTool(['nbdinfo', '--json', `--map=qemu:dirty-bitmap:${bitmapName}`, uri], { deadlineMs: MAP_DEADLINE_MS, signal });
    return readMap(stdout, uri)
      .filter((entry) => (entry.type & STATE_DIRTY) !== 0)
      .map(({ offset, length }) => ({ offset, length }));
  }

  /** What a full copy has to move: all that is not known to read as zeroes. In order of offset, neighbours joined by the server only. */
  async allocatedExtents(uri: string, signal?: AbortSignal): Promise<readonly Extent[]> {
    const { stdout } = await runTool(['nbdinfo', '--json', '--map', uri], { deadlineMs: MAP_DEADLINE_MS, signal });
    return readMap(stdout, uri)
      .filter((entry) => (entry.type & STATE_ZERO) === 0)
      .map(({ offset, length }) => ({ offset, length }));
  }

  /** Bytes that a full copy has to move. */
  async allocatedBytes(uri: string, signal?: AbortSignal): Promise<number> {
    return (await this.allocatedExtents(uri, signal)).reduce((sum, extent) => sum + extent.length, 0);
  }
}

function readMap(stdout: string, uri: string): readonly { readonly offset: number; readonly length: number; readonly type: number }[] {
  return listOf((value, where) => {
    const entry = object(value, where);
    return {
      offset: wholeNumber(entry['offset'], `${where}.offset`),
      length: wholeNumber(entry['length'], `${where}.length`),
      type: wholeNumber(entry['type'], `${where}.type`),
    };
  })(JSON.parse(stdout), `map of ${uri}`);
}
