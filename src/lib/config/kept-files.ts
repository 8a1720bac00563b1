import { randomBytes, randomUUID } from 'node:crypto';
import { chmodSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf } from '../process/system-error.js';

const TOKEN = /^[A-Za-z0-9._~+/=-]{16,1024}$/;
const TOKEN_BYTES = 32;
const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Creates the data directory, private to its owner. @throws Error naming the directory when it cannot be created */
export function makeDataDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new Error(`the data directory ${path} cannot be created; choose another one (SENDENSE_DATA_DIRECTORY) or fix the permissions`, { cause: error });
  }
}

/** The token in a file of mode 0600; created from 32 random bytes when there is no file. @throws Error when the file does not hold a token */
export function readOrMakeToken(file: string): string {
  return readToken(file) ?? keep(file, newToken(), () => readToken(file));
}

/** 32 random bytes as base64url. */
export function newToken(): string {
  return randomBytes(TOKEN_BYTES).toString('base64url');
}

/** null when there is no such file. A file that others may read is made private. @throws Error when the file does not hold a token */
export function readToken(file: string): string | null {
  const token = readIfThere(file);
  if (token === null) return null;
  if (!TOKEN.test(token))
    throw new Error(`${file} does not hold a token: a token has 16 to 1024 letters, digits and . _ ~ + / = -; remove the file to have a new one created`);
  if ((statSync(file).mode & 0o077) !== 0) chmodSync(file, 0o600);
  return token;
}

/** The id in a file; a new UUID when there is no file. @throws Error when the file does not hold an id */
export function readOrMakeId(file: string): string {
  const id = readIfThere(file) ?? keep(file, randomUUID(), () => readIfThere(file));
  if (!ID.test(id)) throw new Error(`${file} does not hold an id: an id has 1 to 64 letters, digits, dots, dashes and underscores`);
  return id;
}

/** Writes a file atomically: it is complete as soon as it exists. */
export function writeWhole(file: string, text: string): void {
  const fresh = `${file}.${process.pid}.new`;
  writeFileSync(fresh, text, { mode: 0o600, flush: true });
  renameSync(fresh, file);
}

/** Writes the value unless another program was faster; its value then applies. */
function keep(file: string, value: string, readAgain: () => string | null): string {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const fresh = `${file}.${process.pid}.new`;
  writeFileSync(fresh, `${value}\n`, { mode: 0o600, flush: true });
  try {
    linkSync(fresh, file);
    return value;
  } catch (error) {
    const theirs = readAgain();
    if (theirs === null) throw error;
    return theirs;
  } finally {
    rmSync(fresh, { force: true });
  }
}

function readIfThere(file: string): string | null {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}
