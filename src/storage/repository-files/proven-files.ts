import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { KeyedMutex } from '../../lib/concurrency/keyed-mutex.js';
import { loggerFor } from '../../lib/logging/logger.js';

/** `state` of a file (see ImageFacts) when it was last read in full, and its SHA-256 at that time. */
export interface ProvenFile {
  readonly state: string;
  readonly sha256: string;
}

/**
 * Remembers the state of sealed files at their last verification, so that untouched files need not be read again. It is a cache: a lost entry costs one read,
 * and an entry never overrides a file whose state differs. One small file per VM of a repository.
 */
export class ProvenFiles {
  private readonly log = loggerFor('ProvenFiles');
  private readonly perVm = new KeyedMutex();

  /** @param directory null: remember nothing */
  constructor(private readonly directory: string | null) {}

  /** @param file relative to the repository */
  async find(repositoryPath: string, file: string): Promise<ProvenFile | null> {
    return (await this.findAll(repositoryPath, [file])).get(file) ?? null;
  }

  /**
   * Reads each VM's entries once for all of its files.
   * @param files relative to the repository
   * @returns by file; files without an entry are left out
   */
  async findAll(repositoryPath: string, files: readonly string[]): Promise<ReadonlyMap<string, ProvenFile>> {
    const oneOfEachVm = new Map(files.map((file) => [vmOf(file), file]));
    const known = await Promise.all([...oneOfEachVm.values()].map((file) => this.load(repositoryPath, file)));
    return new Map(known.flatMap((ofVm) => [...ofVm]));
  }

  async remember(repositoryPath: string, proven: ReadonlyMap<string, ProvenFile>): Promise<void> {
    const [first] = proven.keys();
    if (first !== undefined) await this.change(repositoryPath, first, (known) => new Map([...known, ...proven]));
  }

  /** @param folder the folder of a deleted restore point, relative to the repository */
  async forget(repositoryPath: string, folder: string): Promise<void> {
    await this.change(repositoryPath, folder, (known) => new Map([...known].filter(([file]) => !file.startsWith(`${folder}/`))));
  }

  private async change(repositoryPath: string, within: string, to: (known: ReadonlyMap<string, ProvenFile>) => ReadonlyMap<string, ProvenFile>): Promise<void> {
    const place = this.placeOf(repositoryPath, within);
    if (place === null) return;
    await this.perVm
      .runExclusive(place, () => this.write(place, repositoryPath, within, to))
      // A lost entry only means reading the file again, so nothing else may fail because of it.
      .catch((error: unknown) =>
        this.log.warn("the verification state of a repository's file could not be saved", { repository: repositoryPath, within, error }),
      );
  }

  private async write(
    place: string,
    repositoryPath: string,
    within: string,
    to: (known: ReadonlyMap<string, ProvenFile>) => ReadonlyMap<string, ProvenFile>,
  ): Promise<void> {
    const changed = to(await this.load(repositoryPath, within));
    if (changed.size === 0) {
      await rm(place, { force: true });
      return;
    }
    await mkdir(dirname(place), { recursive: true, mode: 0o700 });
    const temporary = `${place}.${randomUUID()}`;
    await writeFile(temporary, JSON.stringify(Object.fromEntries([...changed].map(([file, { state, sha256 }]) => [file, [state, sha256]]))), { mode: 0o600 });
    await rename(temporary, place);
  }

  private async load(repositoryPath: string, within: string): Promise<ReadonlyMap<string, ProvenFile>> {
    const place = this.placeOf(repositoryPath, within);
    if (place === null) return new Map();
    try {
      const document: unknown = JSON.parse(await readFile(place, 'utf8'));
      return new Map(Object.entries(document ?? {}).flatMap(([file, value]) => (isProof(value) ? [[file, { state: value[0], sha256: value[1] }]] : [])));
    } catch {
      // Missing, or cut short by a crash: the files are read again.
      return new Map();
    }
  }

  private placeOf(repositoryPath: string, within: string): string | null {
    if (this.directory === null) return null;
    return join(
      this.directory,
      `${createHash('sha256')
        .update(`${repositoryPath}\n${vmOf(within)}`)
        .digest('hex')}.json`,
    );
  }
}

/** The VM's folder. */
function vmOf(within: string): string {
  return within.slice(0, within.indexOf('/'));
}

function isProof(value: unknown): value is readonly [string, string] {
  return Array.isArray(value) && value.length === 2 && value.every((each) => typeof each === 'string');
}
