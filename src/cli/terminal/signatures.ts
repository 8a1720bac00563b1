import { InvalidArgumentError } from 'commander';
import { NoteError, type NoteVerifier, parseVerifier } from '../../lib/ledger/signed-note.js';
import type { SignatureCounts } from '../../storage/repository-files/manifest-signature.js';

/** For an option with a key. */
export function trustedKey(text: string): NoteVerifier {
  try {
    return parseVerifier(text);
  } catch (error) {
    throw error instanceof NoteError ? new InvalidArgumentError(error.message) : error;
  }
}

/** Who has signed manifests, in sentences. */
export function signaturesText({ trusted, unknown_key, unsigned, unknown_keys }: SignatureCounts): string {
  const parts = [
    ...(trusted === 0 ? [] : [`${trusted} signed with a given key.`]),
    ...(unknown_key === 0
      ? []
      : [`${unknown_key} signed with a key that nobody has vouched for (${unknown_keys.join(', ')}): give --key to check who signed.`]),
    ...(unsigned === 0 ? [] : [`${unsigned} of format 1, which has no signatures.`]),
  ];
  return parts.join(' ');
}
