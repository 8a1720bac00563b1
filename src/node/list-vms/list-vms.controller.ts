import { Controller, Get, Query } from '@nestjs/common';
import { type NodeSilentSource, type NodeVm, type NodeVmList, NodeVmQuery } from '../../contract/vm-list.js';
import type { NodeSource } from '../../contract/words.js';
import { loggerFor } from '../../lib/logging/logger.js';
import { DomainError } from '../../kernel/domain-error.js';
import { messageOf } from '../../kernel/error-message.js';
import type { Source } from '../sources/source.port.js';
import { Sources } from '../sources/sources.js';

/** Per source. Shorter than the hub's own timeout. */
const SOURCE_PATIENCE_MS = 5_000;

@Controller('vms')
export class ListVmsController {
  private readonly logger = loggerFor('ListVms');

  constructor(private readonly sources: Sources) {}

  /** All VMs, or one; an unknown one is 404 vm_not_found. */
  @Get()
  async list(@Query() query: NodeVmQuery): Promise<NodeVmList> {
    const { source_ref: sourceRef } = query;
    if (sourceRef !== undefined) return { vms: [await this.sources.of(query.source ?? sourceByForm(sourceRef)).describe(sourceRef)] };
    return this.discover();
  }

  /** A hypervisor that is unreachable or too slow must not hide the VMs of the others. */
  private async discover(): Promise<NodeVmList> {
    const found = await Promise.all(this.sources.all.map((source) => this.ask(source)));
    const silent = found.flatMap(({ failed }) => failed ?? []);
    if (silent.length === found.length) throw silent[0]?.error;
    const vms = found.flatMap((one) => one.vms);
    return silent.length === 0 ? { vms } : { vms, silent_sources: silent.map(({ source, code, detail }) => ({ source, code, detail })) };
  }

  private async ask(source: Source): Promise<{ readonly vms: readonly NodeVm[]; readonly failed: SilentSource | null }> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const detail = `The source "${source.kind}" did not list its VMs within ${SOURCE_PATIENCE_MS} ms.`;
    const timer = setTimeout(() => reject(new DomainError('unavailable', 'source_silent', detail, { source: source.kind })), SOURCE_PATIENCE_MS);
    try {
      return { vms: await Promise.race([source.discover(), late]), failed: null };
    } catch (error) {
      this.logger.warn('a source of VMs cannot be queried', { source: source.kind, error });
      const code = error instanceof DomainError ? error.code : 'internal_error';
      return { vms: [], failed: { source: source.kind, code, detail: messageOf(error), error } };
    } finally {
      clearTimeout(timer);
    }
  }
}

interface SilentSource extends NodeSilentSource {
  readonly error: unknown;
}

function sourceByForm(sourceRef: string): NodeSource {
  return sourceRef.startsWith('/') ? 'image' : 'libvirt';
}
