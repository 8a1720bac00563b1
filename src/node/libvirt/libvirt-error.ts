/**
 * - `libvirt_unreachable`: the daemon does not answer; it may be starting
 * - `libvirt_silent`: a call did not finish in time, so its outcome is unknown
 * - `client_killed`: another process on this machine ended virsh with SIGKILL, twice in a row; nothing was refused
 * - `domain_not_found`, `checkpoint_not_found`
 * - `domain_not_running`: the call needs a running guest
 * - `checkpoint_inconsistent`: a bitmap that an incremental should start from is missing or broken
 * - `agent_unavailable`: the guest has no agent, or it does not answer
 * - `libvirt_refused`: any other refusal, in libvirt's words
 */
export type LibvirtErrorCode =
  | 'libvirt_unreachable'
  | 'libvirt_silent'
  | 'client_killed'
  | 'domain_not_found'
  | 'checkpoint_not_found'
  | 'domain_not_running'
  | 'checkpoint_inconsistent'
  | 'agent_unavailable'
  | 'libvirt_refused';

/** libvirt did not carry out a request. */
export class LibvirtError extends Error {
  override readonly name = 'LibvirtError';

  constructor(
    readonly code: LibvirtErrorCode,
    /** In libvirt's words. */
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Classifies virsh's standard error. libvirt's clients have error numbers, but virsh prints only messages. */
export function libvirtErrorCode(stderr: string): LibvirtErrorCode {
  if (/failed to connect to the hypervisor|Cannot recv data|End of file while reading data|client socket is closed|Connection reset by peer/i.test(stderr)) {
    return 'libvirt_unreachable';
  }
  if (/Domain not found|failed to get domain/i.test(stderr)) return 'domain_not_found';
  if (/Domain checkpoint not found|no domain checkpoint with matching name/i.test(stderr)) return 'checkpoint_not_found';
  if (/domain is not running/i.test(stderr)) return 'domain_not_running';
  if (/checkpoint inconsistent|missing or broken bitmap/i.test(stderr)) return 'checkpoint_inconsistent';
  if (/guest agent|QEMU guest agent/i.test(stderr)) return 'agent_unavailable';
  return 'libvirt_refused';
}
