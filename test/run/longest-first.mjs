import Sequencer from '@jest/test-sequencer';

/** What runs for more than half a minute, the longest first: begun last, it would run alone at the end. */
const LONGEST = [
  'src/storage/pruning/restore-point-rewriter',
  'test/e2e/command-line',
  'test/e2e/policies.e2e',
  'test/crash/hub-killed',
  'test/crash/restore-killed',
  'test/crash/node-killed',
  'src/node/backup-jobs/backup-jobs',
  'test/e2e/file-restore',
  'test/e2e/cancel-and-queue',
  'test/libvirt/restored-vm',
  'test/e2e/bad-luck',
  'test/e2e/backup-path',
  'test/e2e/demo',
  'src/hub/store/postgres/projections',
  'test/e2e/libvirt-backup',
  'test/e2e/restore-bad-luck',
  'test/e2e/pruning',
  'test/e2e/validate.e2e',
  'test/e2e/retention',
  'test/e2e/copies.e2e',
  'src/hub/restore/mounts/mount-drivers',
  'src/storage/copying/restore-point-copier',
  'test/e2e/enrolment',
  'test/crash/standby',
  'test/e2e/hub-dead',
  'test/crash/postgres-stopped',
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
