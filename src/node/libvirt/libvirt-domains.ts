import { Injectable } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import { NodeConfig } from '../node.config.js';
import { ToolError } from '../../lib/process/tool-error.js';
import { type GuestAccount, guestAccountIn } from './guest-account.plan.js';
import { LibvirtError } from './libvirt-error.js';
import { jobIdInMetadata, SENDENSE_NAMESPACE } from '../../lib/libvirt/restored-domain.plan.js';
import { Virsh } from './virsh.js';

/** A starting domain reads its disks' headers and may wait for a network. */
const CALL_DEADLINE_MS = 120_000;

export interface KnownDomain {
  readonly uuid: string;
  readonly name: string;
}

/**
 * Creates, runs and removes domains of the node's libvirt through virsh. Domains are addressed by uuid, because a name may look like a number or a uuid.
 * Every method throws DomainError `libvirt_unavailable` if libvirt is unreachable, and `domain_refused` with libvirt's own message if it refuses.
 */
@Injectable()
export class LibvirtDomains {
  constructor(private readonly config: NodeConfig) {}

  /** All domains, running or not. */
  async list(): Promise<readonly KnownDomain[]> {
    const text = await this.virsh('list', '--all', '--uuid', '--name');
    return text.split('\n').flatMap((line): readonly KnownDomain[] => {
      const found = /^\s*([0-9a-f]{8}-[0-9a-f-]{27})\s+(.*\S)\s*$/.exec(line);
      return found === null ? [] : [{ uuid: found[1] ?? '', name: found[2] ?? '' }];
    });
  }

  /** The restore or boot check that created the domain; null: none, or the domain does not exist. */
  async jobOf(uuid: string): Promise<string | null> {
    try {
      return jobIdInMetadata(await this.virsh('metadata', uuid, SENDENSE_NAMESPACE));
    } catch (error) {
      if (error instanceof DomainError && error.code === 'domain_refused') return null;
      throw error;
    }
  }

  /** The account that libvirt runs guests as; null: its own, for example if it does not run as root. */
  async guestAccount(): Promise<GuestAccount | null> {
    return guestAccountIn(await this.virsh('capabilities'));
  }

  /** As reported by virsh, e.g. `running`, `paused`, `shut off`; null: the domain does not exist. */
  async state(uuid: string): Promise<string | null> {
    return this.unlessGone(async () => (await this.virsh('domstate', uuid)).trim());
  }

  /** file: contains the XML. A domain with the same uuid and name is replaced. */
  async define(file: string): Promise<void> {
    await this.virsh('define', file);
  }

  async start(uuid: string): Promise<void> {
    await this.virsh('start', uuid);
  }

  /** Creates a paused domain that exists only while it runs. */
  async createPaused(file: string): Promise<void> {
    await this.virsh('create', '--paused', file);
  }

  async resume(uuid: string): Promise<void> {
    await this.virsh('resume', uuid);
  }

  /** Whether the guest agent currently answers. */
  async agentAnswers(uuid: string): Promise<boolean> {
    try {
      await this.virsh('qemu-agent-command', uuid, '{"execute":"guest-ping"}', '--timeout', '5');
      return true;
    } catch (error) {
      if (error instanceof DomainError && error.code === 'domain_refused') return false;
      throw error;
    }
  }

  /** A screenshot of the first display, in the hypervisor's own format. */
  async screenshot(uuid: string, file: string): Promise<void> {
    await this.virsh('screenshot', uuid, '--file', file);
  }

  /** Powers the domain off, and removes it together with the files that libvirt keeps for it. A no-op if it is gone. */
  async remove(uuid: string): Promise<void> {
    await this.unlessGone(async () => {
      const state = await this.state(uuid);
      if (state !== null && state !== 'shut off') await this.unlessNotRunning(() => this.virsh('destroy', uuid));
      // A transient domain no longer exists at this point.
      if ((await this.state(uuid)) !== null) await this.virsh('undefine', uuid, '--nvram', '--managed-save', '--snapshots-metadata', '--checkpoints-metadata');
    });
  }

  private async unlessNotRunning(act: () => Promise<unknown>): Promise<void> {
    try {
      await act();
    } catch (error) {
      if (!(error instanceof DomainError) || error.facts['reason'] !== 'domain_not_running') throw error;
    }
  }

  private async unlessGone<Answer>(act: () => Promise<Answer>): Promise<Answer | null> {
    try {
      return await act();
    } catch (error) {
      if (error instanceof DomainError && error.facts['reason'] === 'domain_not_found') return null;
      throw error;
    }
  }

  private async virsh(...argv: readonly string[]): Promise<string> {
    if (this.config.libvirtUri === '') throw new DomainError('unavailable', 'libvirt_unavailable', 'This node has no libvirt configured (libvirt_uri).');
    try {
      return await new Virsh(this.config.libvirtUri).call(argv, CALL_DEADLINE_MS);
    } catch (error) {
      if (error instanceof ToolError) throw new DomainError('unavailable', 'libvirt_unavailable', 'virsh is not installed on the node.');
      if (!(error instanceof LibvirtError)) throw error;
      const said = error.message.replaceAll('\n', ' ');
      if (error.code === 'libvirt_unreachable' || error.code === 'libvirt_silent' || error.code === 'client_killed') {
        throw new DomainError('unavailable', 'libvirt_unavailable', `libvirt is unreachable: ${said}`);
      }
      throw new DomainError('conflict', 'domain_refused', `libvirt refuses "${argv[0] ?? ''}": ${said}`, { reason: error.code });
    }
  }
}
