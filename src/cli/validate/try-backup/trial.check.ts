import { messageOf } from '../../../kernel/error-message.js';
import { bytesText } from '../model/amounts.plan.js';
import { type Check, fail, pass, type Role, skip, type Verdict, warn } from '../model/check.plan.js';
import { type Trial, TRIAL_DISK_BYTES, TrialImpossibleError, TrialWaitsError } from './trial.step.js';

/** Bytes a second below which a backup of any size is tedious. */
const SLOW = 20 * 1024 ** 2;

/** In their order: each stands on what the ones before have made, and the last one removes it. */
export function trialChecks(role: Role, trial: Trial, throughTunnel: boolean): readonly Check[] {
  return [
    {
      id: 'event_store_append',
      role,
      title: 'the event store takes an event and gives it back',
      run: async () => {
        try {
          const recorded = await trial.record();
          return recorded === null ? skip('the VM of the trial cannot be made, for other reasons') : pass(`${recorded} was recorded and read again`);
        } catch (error) {
          if (error instanceof TrialImpossibleError) return skip(error.message);
          return fail(
            messageOf(error),
            'Look at what the hub says (GET /health/ready, and its log). Where rights are missing, GRANT ALL ON ALL TABLES IN SCHEMA event_store to the user of DATABASE_URL; where space is missing, free some for PostgreSQL.',
          );
        }
      },
    },
    {
      id: 'trial_backup',
      role,
      title: 'a small backup',
      run: async () => {
        try {
          const ms = await trial.backUp();
          if (ms === null) return skip('the event store does not take what is to be tried');
          return pass(`${bytesText(TRIAL_DISK_BYTES)} backed up and sealed in ${(ms / 1000).toFixed(1)} s`);
        } catch (error) {
          if (error instanceof TrialImpossibleError) return skip(error.message);
          if (error instanceof TrialWaitsError)
            return warn(error.message, 'Look again when fewer backups run, or raise max_concurrent_backups and nbd_port_count.');
          return fail(messageOf(error), "The other checks, this text and the hub's log say what is wrong; docs/operations.md explains the codes.");
        }
      },
    },
    {
      id: 'trial_restore',
      role,
      title: 'its restore',
      run: async (): Promise<Verdict> => {
        try {
          if (!(await trial.restore())) return skip('there is no trial backup');
          return pass('the restored disk is the original, byte for byte');
        } catch (error) {
          return fail(
            messageOf(error),
            "Do not rely on these backups before this passes. Look for faults of the repository's disk (dmesg, smartctl -a), at the hub's log, and have restore points verified: POST /backups/{id}/verify.",
          );
        }
      },
    },
    {
      id: 'throughput',
      role,
      title: throughTunnel ? 'throughput of NBD through the tunnel' : 'throughput of NBD',
      run: async () => {
        const speed = await trial.throughput();
        if (speed === null) return skip('there is no trial restore');
        const text = `${bytesText(speed)} a second`;
        if (speed >= SLOW) return pass(text);
        return warn(
          text,
          throughTunnel
            ? 'Look at the network (ping, ip -s link), and raise tunnel_connections where one connection is the limit.'
            : 'Look at the load of this machine and at its disks (top, iostat -x 1).',
        );
      },
    },
    {
      id: 'trial_removal',
      role,
      title: 'what was tried is removed',
      run: async () => {
        const { removed, left } = await trial.cleanUp();
        if (left.length > 0) return warn(`left behind: ${left.join('; ')}`, 'Remove it by hand.');
        return removed === 0 ? skip('there is nothing to remove') : pass('nothing is left of it');
      },
    },
  ];
}
