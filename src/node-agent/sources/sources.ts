import { Injectable } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import { ImageSource } from './image/image.source.js';
import type { Source, SourceKind } from './source.port.js';

/** The hypervisor drivers of this node, by what a VM says its source is. */
@Injectable()
export class Sources {
  private readonly byKind: ReadonlyMap<SourceKind, Source>;

  constructor(image: ImageSource) {
    this.byKind = new Map<SourceKind, Source>([[image.kind, image]]);
  }

  get all(): readonly Source[] {
    return [...this.byKind.values()];
  }

  /** @throws DomainError source_unknown */
  of(kind: SourceKind): Source {
    const source = this.byKind.get(kind);
    if (source === undefined) throw new DomainError('invalid', 'source_unknown', `This node has no source "${kind}".`, { source: kind });
    return source;
  }
}
