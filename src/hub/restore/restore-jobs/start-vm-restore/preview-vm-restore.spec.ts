import { describe, expect, it } from '@jest/globals';
import type { WantedVm } from '../model/vm-restore.commands.js';
import { refuseUnaccepted, type VmRestorePreview } from './preview-vm-restore.service.js';

const WANTED: WantedVm = {
  backupId: 'b',
  repositoryId: null,
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

describe('a VM whose definition comes from another node', () => {
  it('is not started before its changes are accepted, and the refusal lists them', () => {
    expect(() => refuseUnaccepted(FOREIGN, WANTED)).toThrow(expect.objectContaining({ code: 'changes_not_accepted', facts: { changes: CHANGES } }));
  });

  it('is started once they are accepted, and created if no start is requested', () => {
    expect(() => refuseUnaccepted(FOREIGN, { ...WANTED, acceptChanges: true })).not.toThrow();
    expect(() => refuseUnaccepted(FOREIGN, { ...WANTED, start: false })).not.toThrow();
  });

  it('is started without acceptance on its own node', () => expect(() => refuseUnaccepted(OWN, WANTED)).not.toThrow());
});
