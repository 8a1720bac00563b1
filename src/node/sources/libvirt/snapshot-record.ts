import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { oneOf, object, text, wholeNumber } from '../../../lib/json-shape/json-shape.js';
import { ifThere } from '../../../lib/files/if-there.js';
import { writeFileDurably } from '../../../lib/files/durable-write.js';

const RECORD_FILE = 'libvirt.json';
const FROZEN_FILE = 'frozen';
const FULL_FILE = 'scratch-full';

/** All that is needed to release a snapshot after the node was killed. Written before any step that the release would have to undo. */
export interface SnapshotRecord {
  /** `live`: a backup job of libvirt; `offline`: our own servers on the files. */
  readonly mode: 'live' | 'offline';
  readonly uuid: string;
  /** Directory of scratch files and socket; null for `offline`. */
  readonly scratch: string | null;
  readonly scratchBoundBytes: number;
}

export function socketOf(scratch: string): string {
  return join(scratch, 'nbd.sock');
}

export async function writeRecord(directory: string, record: SnapshotRecord): Promise<void> {
  await writeFileDurably(join(directory, RECORD_FILE), JSON.stringify(record), 0o600);
}

/** null: the directory belongs to another source, or is gone. */
export async function readRecord(directory: string): Promise<SnapshotRecord | null> {
  const json = await ifThere(readFile(join(directory, RECORD_FILE), 'utf8'));
  if (json === null) return null;
  const record = object(JSON.parse(json), RECORD_FILE);
  return {
    mode: oneOf('live', 'offline')(record['mode'], 'mode'),
    uuid: text(record['uuid'], 'uuid'),
    scratch: record['scratch'] === null ? null : text(record['scratch'], 'scratch'),
    scratchBoundBytes: wholeNumber(record['scratchBoundBytes'], 'scratchBoundBytes'),
  };
}

/** Written before the guest is frozen: any later run that finds the mark thaws the guest, which would otherwise hang. */
export async function noteFreeze(directory: string): Promise<void> {
  await writeFileDurably(join(directory, FROZEN_FILE), '', 0o600);
}

export async function mayBeFrozen(directory: string): Promise<boolean> {
  return exists(join(directory, FROZEN_FILE));
}

export async function noteThaw(directory: string): Promise<void> {
  await rm(join(directory, FROZEN_FILE), { force: true });
}

export async function noteScratchFull(directory: string, detail: string): Promise<void> {
  await writeFile(join(directory, FULL_FILE), detail);
}

/** Why the snapshot was abandoned; null: it was not. */
export async function scratchFullDetail(directory: string): Promise<string | null> {
  return readFile(join(directory, FULL_FILE), 'utf8').catch(() => null);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
