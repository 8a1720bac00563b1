import type { KeyObject } from 'node:crypto';
import { NoteError, type NoteVerifier, openNote, parseVerifier, signNote, verifierOf, verifierText } from '../../lib/ledger/signed-note.js';
import type { Manifest } from './manifest.js';

/**
 * Signs manifests with the key of a hub's ledger. The same key signs checkpoints and rotations, whose text begins with the name of the key, while a manifest
 * begins with a brace: none can pass for another.
 */
export interface ManifestSigner {
  /** Verifier key. */
  readonly key: string;
  /** @param json the text of manifest.json @returns the text of manifest.json.sig */
  sign(json: string): string;
}

/** What a signature proves. */
export type SignatureVerdict =
  /** Format 1 has no signatures. */
  | { readonly kind: 'unsigned' }
  /** By one of the keys that the reader trusts. */
  | { readonly kind: 'trusted'; readonly key: string }
  /** By the key that the manifest names, which the reader does not know: the manifest is as that hub wrote it, whoever that is. */
  | { readonly kind: 'unknown_key'; readonly key: string }
  | { readonly kind: 'invalid'; readonly detail: string };

/** @param name of the key: the origin of the hub's checkpoints */
export function manifestSigner(name: string, privateKey: KeyObject): ManifestSigner {
  return {
    key: verifierText(verifierOf(name, privateKey)),
    // The lines of a note that follow its text and a blank line.
    sign: (json) => signNote(json, name, privateKey).slice(json.length + 1),
  };
}

/**
 * @param json the text that the manifest was parsed from
 * @param signature the text of manifest.json.sig; null: there is none
 */
export function checkSignature(json: string, manifest: Manifest, signature: string | null, trusted: readonly NoteVerifier[]): SignatureVerdict {
  const { signing_key } = manifest;
  if (signing_key === null) return { kind: 'unsigned' };
  if (signature === null) return { kind: 'invalid', detail: 'it has no signature' };
  try {
    const own = parseVerifier(signing_key);
    openNote(`${json}\n${signature}`, [own]);
    return { kind: trusted.some((key) => verifierText(key) === verifierText(own)) ? 'trusted' : 'unknown_key', key: signing_key };
  } catch (error) {
    if (error instanceof NoteError) return { kind: 'invalid', detail: error.message };
    throw error;
  }
}

/** Of several manifests. */
export interface SignatureCounts {
  readonly trusted: number;
  readonly unknown_key: number;
  readonly unsigned: number;
  /** The keys that have signed and that the reader does not know. */
  readonly unknown_keys: readonly string[];
}

/** Counts all but invalid signatures. */
export function countSignatures(verdicts: readonly SignatureVerdict[]): SignatureCounts {
  const count = (kind: SignatureVerdict['kind']): number => verdicts.filter((verdict) => verdict.kind === kind).length;
  const unknown = new Set(verdicts.flatMap((verdict) => (verdict.kind === 'unknown_key' ? [verdict.key] : [])));
  return { trusted: count('trusted'), unknown_key: count('unknown_key'), unsigned: count('unsigned'), unknown_keys: [...unknown].sort() };
}
