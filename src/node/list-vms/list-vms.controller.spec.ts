import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { DomainError } from '../../kernel/domain-error.js';
import type { NodeVm } from '../../contract/vm-list.js';
import type { Sources } from '../sources/sources.js';
import { ListVmsController } from './list-vms.controller.js';

const vm: NodeVm = { name: 'web1', source: 'image', source_ref: '/images/web1', disks: [] };

/** Stub sources with the only method that the controller calls. */
function controllerOf(...sources: readonly { readonly kind: string; discover(): Promise<readonly NodeVm[]> }[]): ListVmsController {
  return new ListVmsController({ all: sources } as unknown as Sources);
}

afterEach(() => {
  jest.useRealTimers();
});

describe('the list of all VMs', () => {
  it('contains the VMs of the sources that answer in time, and names the source that does not', async () => {
    jest.useFakeTimers();
    const controller = controllerOf(
      { kind: 'libvirt', discover: () => new Promise(() => undefined) },
      { kind: 'image', discover: () => Promise.resolve([vm]) },
    );
    const list = controller.list({});
    await jest.advanceTimersByTimeAsync(5_000);
    expect(await list).toEqual({ vms: [vm], silent_sources: [{ source: 'libvirt', code: 'source_silent', detail: expect.stringContaining('5000 ms') }] });
  });

  it('fails if no source can be queried', async () => {
    const away = new DomainError('unavailable', 'libvirt_unavailable', 'libvirt does not answer');
    await expect(controllerOf({ kind: 'libvirt', discover: () => Promise.reject(away) }).list({})).rejects.toBe(away);
  });
});
