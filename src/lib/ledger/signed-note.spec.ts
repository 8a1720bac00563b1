import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { openCheckpoint, signCheckpoint } from './checkpoint.js';
import { leafHash } from './merkle-tree.js';
import { NoteError, openNote, parseVerifier, signNote, verifierOf, verifierText } from './signed-note.js';

// The example of the C2SP specification of signed notes.
const KEY = 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k';
const NOTE = `This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
`;

const { privateKey } = generateKeyPairSync('ed25519');
const other = generateKeyPairSync('ed25519').privateKey;
const NAME = 'sendense/0199a3c0-0001-7000-8000-000000000001';
const head = { origin: NAME, size: 42, root: leafHash(Buffer.from('x')) };

describe('signed notes', () => {
  it('of others are verified', () => {
    const verifier = parseVerifier(KEY);
    expect(verifierText(verifier)).toBe(KEY);
    expect(openNote(NOTE, [verifier]).text).toBe('This is an example message.\n');
  });

  it('are refused if the text was changed, no known key has signed, or it is no note', () => {
    const verifier = parseVerifier(KEY);
    expect(() => openNote(NOTE.replace('example message', 'other message'), [verifier])).toThrow('is wrong');
    expect(() => openNote(NOTE, [verifierOf(NAME, privateKey)])).toThrow('not a known key');
    for (const text of ['', 'text\n', NOTE.trimEnd(), NOTE.replace('—', '-'), NOTE.replace('This', '\tThis'), NOTE.replace(/Uw2.*=/, 'Uw2Q')])
      expect(() => openNote(text, [verifier])).toThrow(NoteError);
  });

  it('name a key whose id belongs to it', () => {
    expect(() => parseVerifier(KEY.replace('530d903a', '530d903b'))).toThrow(NoteError);
    expect(() => parseVerifier(KEY.replace('example.com/foo', 'example.com/bar'))).toThrow(NoteError);
    expect(() => signNote('text\n', 'a name', privateKey)).toThrow(NoteError);
  });
});

describe('checkpoints', () => {
  it('are signed and opened', () => {
    const { signer, ...opened } = openCheckpoint(signCheckpoint(head, privateKey), [verifierOf(NAME, other), verifierOf(NAME, privateKey)]);
    expect(opened).toEqual(head);
    expect(verifierText(signer)).toBe(verifierText(verifierOf(NAME, privateKey)));
  });

  it('forged with another key are refused', () => {
    expect(() => openCheckpoint(signCheckpoint(head, other), [verifierOf(NAME, privateKey)])).toThrow(NoteError);
  });

  it('that are no checkpoints, or of another origin than the key, are refused', () => {
    const verifiers = [verifierOf(NAME, privateKey)];
    const root = head.root.toString('base64');
    for (const text of [`${NAME}\n042\n${root}\n`, `${NAME}\n42\n${root.slice(4)}\n`, `${NAME}\n-1\n${root}\n`, `sendense/other\n42\n${root}\n`])
      expect(() => openCheckpoint(signNote(text, NAME, privateKey), verifiers)).toThrow(NoteError);
  });
});
