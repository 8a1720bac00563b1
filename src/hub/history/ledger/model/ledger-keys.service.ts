import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { writeWhole } from '../../../../lib/config/kept-files.js';
import { originOf } from '../../../../lib/ledger/checkpoint.js';
import { verifierOf, verifierText } from '../../../../lib/ledger/signed-note.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { errnoOf } from '../../../../lib/process/system-error.js';
import { type ManifestSigner, manifestSigner } from '../../../../storage/repository-files/manifest-signature.js';
import { HubConfig } from '../../../hub.config.js';
import { HUB_ID } from '../../../store/event-store/command-runner.js';

/** The Ed25519 key that signs checkpoints and manifests, in the shared directory with mode 0600, and during a rotation the next one. */
@Injectable()
export class LedgerKeys implements OnModuleInit {
  readonly origin: string;
  private readonly file: string;
  private current: KeyObject | null = null;

  constructor(config: HubConfig, @Inject(HUB_ID) hubId: string) {
    this.origin = originOf(hubId);
    this.file = join(config.sharedDirectory, 'ledger.key');
  }

  /** @throws Error if the file holds no key */
  onModuleInit(): void {
    this.current = readKey(this.file) ?? this.make(this.file);
    loggerFor('Ledger').info('checkpoints of the ledger are signed with this key', { key: this.verifier });
  }

  /** The key to verify checkpoints with. */
  get verifier(): string {
    return this.textOf(this.privateKey);
  }

  get privateKey(): KeyObject {
    if (this.current === null) throw new Error('the key of the ledger is not loaded yet');
    return this.current;
  }

  get manifestSigner(): ManifestSigner {
    return manifestSigner(this.origin, this.privateKey);
  }

  /** The next key of a rotation that has not ended; null: there is none. */
  get next(): KeyObject | null {
    return readKey(this.nextFile);
  }

  makeNext(): KeyObject {
    return this.make(this.nextFile);
  }

  useNext(): void {
    renameSync(this.nextFile, this.file);
    this.current = readKey(this.file);
  }

  dropNext(): void {
    rmSync(this.nextFile, { force: true });
  }

  textOf(key: KeyObject): string {
    return verifierText(verifierOf(this.origin, key));
  }

  private get nextFile(): string {
    return `${this.file}.next`;
  }

  private make(file: string): KeyObject {
    const { privateKey } = generateKeyPairSync('ed25519');
    writeWhole(file, String(privateKey.export({ type: 'pkcs8', format: 'pem' })));
    return privateKey;
  }
}

function readKey(file: string): KeyObject | null {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
  try {
    const key = createPrivateKey(text);
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch {
    // The message of the parser could quote the key.
  }
  throw new Error(`${file} does not hold an Ed25519 private key in PEM; put the original back, or remove the file to have a new key created`);
}
