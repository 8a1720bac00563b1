import { Injectable } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import { ImageSource } from './image/image.source.js';
import type { Source, SourceKind } from './source.port.js';

/** The hypervisor drivers of this node, by what a VM says its source is. */
@Injectable()
export class Sources {
  readonly all: readonly Source[];

  constructor(image: ImageSource) {
    this.all = [image];
  }

  /** @throws DomainError source_unknown */
  of(kind: SourceKind): Source {
    const source = this.all.find((one) => one.kind === kind);
    if (source === undefined) throw new DomainError('invalid', 'source_unknown', `This node has no source "${kind}".`, { source: kind });
    return source;
  }
}
