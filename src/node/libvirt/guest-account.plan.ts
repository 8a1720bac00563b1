import { childOf, childrenOf, parseXml, textOf } from '../../lib/libvirt/xml-element.js';

export interface GuestAccount {
  readonly uid: number;
  readonly gid: number;
}

/**
 * The account that libvirt gives the processes and files of guests (`user` and `group` in qemu.conf).
 * @param capabilities what `virsh capabilities` prints
 * @returns null where libvirt gives them none, but runs them as itself
 * @throws WrongShapeError when it is no XML
 */
export function guestAccountIn(capabilities: string): GuestAccount | null {
  const models = childrenOf(childOf(parseXml(capabilities), 'host')).filter(({ name }) => name === 'secmodel');
  const dac = models.find((model) => textOf(childOf(model, 'model')).trim() === 'dac');
  const [, uid, gid] = /^\+(\d+):\+(\d+)$/.exec(textOf(childOf(dac, 'baselabel')).trim()) ?? [];
  return uid === undefined || gid === undefined ? null : { uid: Number(uid), gid: Number(gid) };
}
