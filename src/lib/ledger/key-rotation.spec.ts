import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { readCheckpoint } from './checkpoint.js';
import { openRotation, signRotation } from './key-rotation.js';
import { NoteError, verifierOf, verifierText } from './signed-note.js';

const ORIGIN = 'sendense/h1';
const [first, second, stranger] = [0, 1, 2].map(() => generateKeyPairSync('ed25519').privateKey);
if (first === undefined || second === undefined || stranger === undefined) throw new Error('three keys were made');
const rotation = signRotation(ORIGIN, second, '2026-11-21T10:30:00.000Z', first);

describe('the rotation of a key', () => {
  it('names the new key, and is trusted if the old key has signed it', () => {
    expect(verifierText(openRotation(rotation, [verifierOf(ORIGIN, first)]))).toBe(verifierText(verifierOf(ORIGIN, second)));
  });

  it('is refused if another key has signed it, or the key of another origin', () => {
    expect(() => openRotation(rotation, [verifierOf(ORIGIN, stranger)])).toThrow(NoteError);
    expect(() => openRotation(signRotation('sendense/h2', second, '', first), [verifierOf(ORIGIN, first)])).toThrow(NoteError);
  });

  it('cannot be passed off as a checkpoint', () => {
    expect(() => readCheckpoint(rotation)).toThrow(NoteError);
  });
});
