import type { KeyObject } from 'node:crypto';
import { NoteError, type NoteVerifier, openNote, parseVerifier, signNote, verifierOf, verifierText } from './signed-note.js';

const STATEMENT = 'signs its checkpoints from now on with';

/** A note in which the old key of an origin names the new one. @param rotatedAt ISO 8601, UTC */
export function signRotation(origin: string, newKey: KeyObject, rotatedAt: string, oldPrivateKey: KeyObject): string {
  return signNote(`${origin}\n${STATEMENT}\n${verifierText(verifierOf(origin, newKey))}\n${rotatedAt}\n`, origin, oldPrivateKey);
}

/** The new key that a rotation names. @throws NoteError if it is not a rotation that one of the keys has signed for itself */
export function openRotation(note: string, verifiers: readonly NoteVerifier[]): NoteVerifier {
  const { text, signer } = openNote(note, verifiers);
  const [origin, statement, key = ''] = text.split('\n');
  const next = parseVerifier(key);
  if (origin !== signer.name || statement !== STATEMENT || next.name !== origin) throw new NoteError(`this is not a rotation of the key of ${signer.name}`);
  return next;
}
