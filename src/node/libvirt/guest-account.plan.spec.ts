import { describe, expect, it } from '@jest/globals';
import { guestAccountIn } from './guest-account.plan.js';

const model = (name: string, ...labels: readonly string[]): string =>
  `<secmodel><model>${name}</model><doi>0</doi>${labels.map((label) => `<baselabel type='kvm'>${label}</baselabel>`).join('')}</secmodel>`;
const capabilities = (...models: readonly string[]): string => `<capabilities><host><uuid>x</uuid>${models.join('')}</host><guest/></capabilities>`;

describe("the guests' account", () => {
  it.each([
    ['is in the base label, as numbers', [model('apparmor'), model('dac', '+64055:+994', '+64055:+994')], { uid: 64055, gid: 994 }],
    ['may be root', [model('none'), model('dac', '+0:+0')], { uid: 0, gid: 0 }],
    ["is libvirt's own if it labels nothing", [model('none')], null],
    ["is libvirt's own without any security model", [], null],
  ])('%s', (_, models, expected) => {
    expect(guestAccountIn(capabilities(...models))).toEqual(expected);
  });
});
