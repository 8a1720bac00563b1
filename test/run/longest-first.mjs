import Sequencer from '@jest/test-sequencer';

/** What runs for more than half a minute, the longest first: begun last, it would run alone at the end. */
const LONGEST = [
  'test/crash/restore-killed',
  'test/crash/hub-killed',
  'test/crash/node-killed',
  'test/network/cut-network',
  'test/deployment/deployment',
  'test/crash/postgres-stopped',
  'test/libvirt/lost-tracking',
  'test/libvirt/restored-vm',
  'src/hub/restore/mounts/mount-drivers',
  'src/node/backup-jobs/backup-jobs',
  'test/e2e/bad-luck',
  'test/e2e/validate.e2e',
  'test/e2e/cancel-and-queue',
  'test/crash/restored-vm-killed',
  'test/e2e/libvirt-backup',
  'test/libvirt/guest-unhurt',
  'test/e2e/demo',
  'test/e2e/file-restore',
  'test/network/altered-on-the-way',
  'test/e2e/hung-repository',
  'test/e2e/enrolment',
  'test/libvirt/interrupted',
  'test/e2e/restore-bad-luck',
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
