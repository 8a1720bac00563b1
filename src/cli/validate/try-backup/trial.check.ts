import { messageOf } from '../../../kernel/error-message.js';
import { bytesText } from '../../../kernel/bytes-text.js';
import { type Check, fail, pass, type Role, skip, type Verdict, warn } from '../model/check.plan.js';
import { type Trial, TRIAL_DISK_BYTES, TrialImpossibleError, TrialWaitsError } from './trial.step.js';

/** Bytes per second below which larger backups take tediously long. */
const SLOW = 20 * 1024 ** 2;

/** In this order: each check depends on the results of the earlier ones, and the last one removes them. */
export function trialChecks(role: Role, trial: Trial, throughTunnel: boolean): readonly Check[] {
  return [
    {
      id: 'event_store_append',
      role,
      title: 'the event store accepts an event and returns it',
      run: async () => {
        try {
          const recorded = await trial.record();
          return recorded === null ? skip('the trial VM could not be created for other reasons') : pass(`${recorded} was recorded and read back`);
        } catch (error) {
          if (error instanceof TrialImpossibleError) return skip(error.message);
          return fail(
            messageOf(error),
            'Check the hub (GET /health/ready, and its log). If permissions are missing, GRANT ALL ON ALL TABLES IN SCHEMA event_store to the user in DATABASE_URL, or let the user in eventstoredb_url write streams; if space is missing, free some for the event store.',
          );
        }
      },
    },
    {
      id: 'trial_backup',
      role,
      title: 'a small trial backup',
      run: async () => {
        try {
          const ms = await trial.backUp();
          if (ms === null) return skip('the event store did not accept the trial VM');
          return pass(`${bytesText(TRIAL_DISK_BYTES)} backed up and sealed in ${(ms / 1000).toFixed(1)} s`);
        } catch (error) {
          if (error instanceof TrialImpossibleError) return skip(error.message);
          if (error instanceof TrialWaitsError)
            return warn(error.message, 'Try again when fewer backups are running, or raise max_concurrent_backups and nbd_port_count.');
          return fail(messageOf(error), "See the other checks and the hub's log; docs/operations.md explains the codes.");
        }
      },
    },
    {
      id: 'trial_restore',
      role,
      title: 'restore of the trial backup',
      run: async (): Promise<Verdict> => {
        try {
          if (!(await trial.restore())) return skip('there is no trial backup');
          return pass('the restored disk is the original, byte for byte');
        } catch (error) {
          return fail(
            messageOf(error),
            "Do not rely on these backups until this passes. Check the repository's disk for faults (dmesg, smartctl -a), read the hub's log, and verify restore points: POST /backups/{id}/verify.",
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
            ? 'Check the network (ping, ip -s link), and raise tunnel_connections if one connection is the bottleneck.'
            : 'Check the load of this machine and its disks (top, iostat -x 1).',
        );
      },
    },
    {
      id: 'trial_removal',
      role,
      title: 'removal of the trial',
      run: async () => {
        const { removed, left } = await trial.cleanUp();
        if (left.length > 0) return warn(`left behind: ${left.join('; ')}`, 'Remove it by hand.');
        return removed === 0 ? skip('there is nothing to remove') : pass('everything was removed');
      },
    },
  ];
}
