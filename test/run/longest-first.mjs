import Sequencer from '@jest/test-sequencer';

/** What runs for more than half a minute, the longest first: begun last, it would run alone at the end. */
const LONGEST = [
  'test/crash/hub-killed',
  'test/crash/restore-killed',
  'src/hub/restore/mounts/mount-drivers',
  'test/crash/node-killed',
  'test/network/cut-network',
  'test/crash/postgres-stopped',
  'test/libvirt/guest-unhurt',
  'test/deployment/deployment',
  'test/libvirt/lost-tracking',
  'test/libvirt/restored-vm',
  'test/e2e/bad-luck',
  'test/e2e/hung-mount',
  'test/e2e/hung-repository',
  'test/crash/restored-vm-killed',
  'test/e2e/file-restore',
  'test/e2e/demo',
];
const KINDS = ['.proof.spec.ts', '.e2e.spec.ts', '.int.spec.ts', '.spec.ts'];

/** A fresh checkout has no durations of an earlier run, by which Jest would order its files. */
export default class LongestFirst extends Sequencer {
  sort(tests) {
    return super.sort(tests).toSorted((one, other) => rankOf(one.path) - rankOf(other.path));
  }
}

function rankOf(path) {
  const long = LONGEST.findIndex((file) => path.includes(`/${file}`));
  return long === -1 ? LONGEST.length + KINDS.findIndex((kind) => path.endsWith(kind)) : long;
}
