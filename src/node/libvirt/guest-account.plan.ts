import { childOf, childrenOf, parseXml, textOf } from '../../lib/libvirt/xml-element.js';

export interface GuestAccount {
  readonly uid: number;
  readonly gid: number;
}

/**
 * The account that libvirt gives guest processes and files (`user` and `group` in qemu.conf).
 * @param capabilities output of `virsh capabilities`
 * @returns null if libvirt sets none and runs guests under its own account
 * @throws WrongShapeError for malformed XML
 */
export function guestAccountIn(capabilities: string): GuestAccount | null {
  const models = childrenOf(childOf(parseXml(capabilities), 'host')).filter(({ name }) => name === 'secmodel');
  const dac = models.find((model) => textOf(childOf(model, 'model')).trim() === 'dac');
  const [, uid, gid] = /^\+(\d+):\+(\d+)$/.exec(textOf(childOf(dac, 'baselabel')).trim()) ?? [];
  return uid === undefined || gid === undefined ? null : { uid: Number(uid), gid: Number(gid) };
}
