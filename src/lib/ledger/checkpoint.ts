import type { KeyObject } from 'node:crypto';
import { HASH_BYTES } from './merkle-tree.js';
import { NoteError, type NoteVerifier, openNote, signNote, splitNote } from './signed-note.js';

/** The head of a ledger at one size. */
export interface Checkpoint {
  /** `sendense/<hub id>` */
  readonly origin: string;
  /** Number of leaves. */
  readonly size: number;
  readonly root: Buffer;
}

/** Origin of a hub's checkpoints, and the name of its key. */
export function originOf(hubId: string): string {
  return `sendense/${hubId}`;
}

/** A checkpoint as a signed note (C2SP tlog-checkpoint). */
export function signCheckpoint({ origin, size, root }: Checkpoint, privateKey: KeyObject): string {
  return signNote(`${origin}\n${size}\n${root.toString('base64')}\n`, origin, privateKey);
}

/** @throws NoteError if it is malformed, signed by none of the keys, or signed wrongly, or if its origin is not the name of the key */
export function openCheckpoint(note: string, verifiers: readonly NoteVerifier[]): Checkpoint & { readonly signer: NoteVerifier } {
  const { text, signer } = openNote(note, verifiers);
  const checkpoint = parseText(text);
  if (checkpoint.origin !== signer.name) throw new NoteError(`the checkpoint of ${checkpoint.origin} is signed by the key of ${signer.name}`);
  return { ...checkpoint, signer };
}

/** A checkpoint whose signature was not checked. @throws NoteError if it is malformed */
export function readCheckpoint(note: string): Checkpoint {
  return parseText(splitNote(note).text);
}

function parseText(text: string): Checkpoint {
  const [origin = '', size = '', encoded = ''] = text.split('\n');
  const root = Buffer.from(encoded, 'base64');
  if (
    origin === '' ||
    !/^(0|[1-9]\d*)$/.test(size) ||
    !Number.isSafeInteger(Number(size)) ||
    root.length !== HASH_BYTES ||
    root.toString('base64') !== encoded
  ) {
    throw new NoteError('this is not a checkpoint: origin, number of leaves and root, one a line');
  }
  return { origin, size: Number(size), root };
}
