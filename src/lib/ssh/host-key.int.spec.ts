import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from '@jest/globals';
import { requireTools } from '../../../test/support/require-tools.js';
import { runTool } from '../process/run-tool.js';
import { ensureHostKey, ensureKeyPair, HOST_KEY_FILE, HOST_PUBLIC_KEY_FILE, isPublicKey, publicKeyFingerprint, readHostKey } from './host-key.js';

const { it } = requireTools('ssh-keygen');

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sendense-host-key-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

it('is created once, with a private key for its owner only and a public key that others can read', async () => {
  expect(await readHostKey(folder)).toBeNull();
  const key = await ensureHostKey(folder);
  expect(isPublicKey(key)).toBe(true);
  expect(await ensureHostKey(folder)).toBe(key);
  expect(await readHostKey(folder)).toBe(key);
  expect(statSync(join(folder, HOST_KEY_FILE)).mode & 0o777).toBe(0o600);
  expect(readdirSync(folder).sort()).toEqual([HOST_KEY_FILE, HOST_PUBLIC_KEY_FILE]);
});

it('is a single key, even when created concurrently', async () => {
  const keys = await Promise.all(Array.from({ length: 5 }, () => ensureHostKey(folder)));
  expect(new Set(keys).size).toBe(1);
  expect(await readHostKey(folder)).toBe(keys[0]);
  expect(readdirSync(folder).sort()).toEqual([HOST_KEY_FILE, HOST_PUBLIC_KEY_FILE]);
});

it('has its public key recreated when that is lost or belongs to another key', async () => {
  const key = await ensureHostKey(folder);
  writeFileSync(join(folder, HOST_PUBLIC_KEY_FILE), `${await ensureKeyPair(join(folder, 'other'))}\n`);
  expect(await ensureHostKey(folder)).toBe(key);
  expect(readFileSync(join(folder, HOST_PUBLIC_KEY_FILE), 'utf8')).toBe(`${key}\n`);
});

it('has the fingerprint that ssh-keygen prints', async () => {
  const key = await ensureHostKey(folder);
  const { stdout } = await runTool(['ssh-keygen', '-l', '-f', join(folder, HOST_PUBLIC_KEY_FILE)]);
  expect(stdout.split(' ')[1]).toBe(publicKeyFingerprint(key));
});

it.each(['', 'ssh-ed25519 AAAA', `ssh-ed25519 ${'A'.repeat(68)}`, 'ssh-rsa AAAAB3NzaC1yc2E='])('is not %j', (line) => {
  expect(isPublicKey(line)).toBe(false);
  expect(() => publicKeyFingerprint(line)).toThrow('not an Ed25519 public key');
});
