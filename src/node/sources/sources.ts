import { Injectable } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import { NodeConfig } from '../node.config.js';
import { ImageSource } from './image/image.source.js';
import { LibvirtSource } from './libvirt/libvirt.source.js';
import type { Source, SourceKind } from './source.port.js';

/** The hypervisor drivers of this node, by source kind. */
@Injectable()
export class Sources {
  private readonly byKind: ReadonlyMap<SourceKind, Source>;

  constructor(config: NodeConfig, image: ImageSource, libvirt: LibvirtSource) {
    // Sources may be asked to release another's snapshot: libvirt's recognises its own by its record, and the image source takes any. So libvirt's comes first.
    this.byKind = new Map<SourceKind, Source>([...(config.libvirtUri === '' ? [] : ([[libvirt.kind, libvirt]] as const)), [image.kind, image]]);
  }

  get all(): readonly Source[] {
    return [...this.byKind.values()];
  }

  /** @throws DomainError source_unknown */
  of(kind: SourceKind): Source {
    const source = this.byKind.get(kind);
    if (source === undefined && kind === 'libvirt') {
      throw new DomainError(
        'conflict',
        'libvirt_not_configured',
        'This node has no libvirt configured. Set libvirt_uri on the node, for example to qemu:///system; for the local node of a hub, set local_node_libvirt_uri on the hub.',
      );
    }
    if (source === undefined) throw new DomainError('invalid', 'source_unknown', `This node has no source "${kind}".`, { source: kind });
    return source;
  }
}
