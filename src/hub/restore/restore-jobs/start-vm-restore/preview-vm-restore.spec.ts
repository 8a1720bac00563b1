import { describe, expect, it } from '@jest/globals';
import type { WantedVm } from '../model/vm-restore.commands.js';
import { refuseUnaccepted, type VmRestorePreview } from './preview-vm-restore.service.js';

const WANTED: WantedVm = {
  backupId: 'b',
  nodeId: null,
  name: 'vm',
  storagePath: null,
  instant: true,
  keepIdentity: false,
  start: true,
  acceptChanges: false,
  network: 'keep',
  libvirtNetwork: null,
  allowDamaged: false,
};
const CHANGES = [{ code: 'emulator_removed', detail: 'the emulator /tmp/x; the node takes its own' }] as const;
const OWN: VmRestorePreview = { xml: '<domain/>', changes: CHANGES, node_id: 'n', origin_node_id: 'n', imported: false, acceptance_needed: false };
const FOREIGN: VmRestorePreview = { ...OWN, origin_node_id: 'other', acceptance_needed: true };

describe('a VM whose definition comes from elsewhere', () => {
  it('is not started before what changes in it was accepted, and the answer shows it', () => {
    expect(() => refuseUnaccepted(FOREIGN, WANTED)).toThrow(expect.objectContaining({ code: 'changes_not_accepted', facts: { changes: CHANGES } }));
  });

  it('is started once it was accepted, and made without a start', () => {
    expect(() => refuseUnaccepted(FOREIGN, { ...WANTED, acceptChanges: true })).not.toThrow();
    expect(() => refuseUnaccepted(FOREIGN, { ...WANTED, start: false })).not.toThrow();
  });

  it('is started as it is where it came from', () => expect(() => refuseUnaccepted(OWN, WANTED)).not.toThrow());
});
