import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { HubConfig } from '../../../hub.config.js';
import type { NodeBootCheckArtefacts } from '../../../../contract/boot-check.js';
import { namesIn } from '../../../../lib/files/if-there.js';
import { writeFileDurably } from '../../../../lib/files/durable-write.js';
import type { BootArtefact } from './verification.events.js';

/** Console output and screenshots of booted guests, in `<data>/boot-checks/<verification id>/`. */
@Injectable()
export class BootArtefacts {
  private readonly root: string;

  constructor(config: HubConfig) {
    this.root = join(config.dataDirectory, 'boot-checks');
  }

  /** The artefacts are durable when this resolves. May be repeated. */
  async keep(verificationId: string, artefacts: NodeBootCheckArtefacts): Promise<readonly BootArtefact[]> {
    const folder = join(this.root, verificationId);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const console = Buffer.from(artefacts.console_base64, 'base64');
    const kept: BootArtefact[] = [{ name: 'console', file: 'console.txt', media_type: 'text/plain; charset=utf-8', size_bytes: console.length }];
    await writeFileDurably(join(folder, 'console.txt'), console, 0o600);
    if (artefacts.screenshot_base64 !== null && artefacts.screenshot_type !== null) {
      const file = artefacts.screenshot_type === 'image/png' ? 'screenshot.png' : 'screenshot.ppm';
      const picture = Buffer.from(artefacts.screenshot_base64, 'base64');
      await writeFileDurably(join(folder, file), picture, 0o600);
      kept.push({ name: 'screenshot', file, media_type: artefacts.screenshot_type, size_bytes: picture.length });
    }
    return kept;
  }

  path(verificationId: string, artefact: BootArtefact): string {
    return join(this.root, verificationId, artefact.file);
  }

  /** Ids of the verifications that have artefacts. */
  all(): Promise<readonly string[]> {
    return namesIn(this.root);
  }

  async remove(verificationId: string): Promise<void> {
    await rm(join(this.root, verificationId), { recursive: true, force: true });
  }
}
