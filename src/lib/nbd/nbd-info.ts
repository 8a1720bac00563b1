import { Injectable } from '@nestjs/common';
import { wholeNumber } from '../json-shape/json-shape.js';
import { runTool } from '../process/run-tool.js';
import { type BlockStatus, blockStatus } from './nbd-block-status.js';
import { parseNbdAddress } from './nbd-uri.js';

/** An extent of a disk, in bytes. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

/** In base:allocation: reads as zeroes, so a copy may skip it. */
const STATE_ZERO = 2;
const STATE_DIRTY = 1;
/** Listing the extents queries the server for every extent of the disk. */
const MAP_DEADLINE_MS = 10 * 60_000;

/** Queries running NBD servers. */
@Injectable()
export class NbdInfo {
  /** Size of the export in bytes. @throws ToolError when the server cannot be reached or has no such export */
  async size(uri: string, deadlineMs: number): Promise<number> {
    const { stdout } = await runTool(['nbdinfo', '--size', uri], { deadlineMs });
    return wholeNumber(Number(stdout.trim()), `size of ${uri}`);
  }

  /** Extents that a QCOW2 bitmap or a libvirt checkpoint has recorded as changed. In order of offset, neighbours joined. @throws as blockStatus */
  async dirtyExtents(uri: string, bitmapName: string): Promise<readonly Extent[]> {
    return extentsOf(await ask(uri, `qemu:dirty-bitmap:${bitmapName}`), (flags) => (flags & STATE_DIRTY) !== 0);
  }

  /** Extents that a full copy must transfer: everything not known to read as zeroes. In order of offset. @throws as blockStatus */
  async allocatedExtents(uri: string): Promise<readonly Extent[]> {
    return extentsOf(await ask(uri, 'base:allocation'), (flags) => (flags & STATE_ZERO) === 0);
  }
}

function ask(uri: string, context: string): Promise<readonly BlockStatus[]> {
  const { address, exportName } = parseNbdAddress(uri);
  return blockStatus(address, exportName, context, AbortSignal.timeout(MAP_DEADLINE_MS));
}

function extentsOf(statuses: readonly BlockStatus[], wanted: (flags: number) => boolean): readonly Extent[] {
  return statuses.filter(({ flags }) => wanted(flags)).map(({ offset, length }) => ({ offset, length }));
}
