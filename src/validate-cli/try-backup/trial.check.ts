import { bytesText } from '../model/amounts.plan.js';
import { type Check, fail, pass, type Role, skip, type Verdict, warn } from '../model/check.plan.js';
import { type Trial, TRIAL_DISK_BYTES, TrialImpossibleError, TrialWaitsError } from './trial.step.js';

/** Bytes a second below which a backup of any size is tedious. */
const SLOW = 20 * 1024 ** 2;

/** In their order: each stands on what the ones before have made, and the last one removes it. */
export function trialChecks(role: Role, trial: Trial, throughTunnel: boolean): readonly Check[] {
  return [
    {
      id: 'trial_backup',
      role,
      title: 'a small backup',
      run: async () => {
        try {
          const ms = await trial.backUp();
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
      id: 'event_store_append',
      role,
      title: 'the event store takes events and gives them back',
      run: async () => {
        const events = await trial.events();
        if (events === null) return skip('there is no trial backup');
        return pass(`${events.appended} events of the trial, the newest ${events.newest}`);
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
          return fail(messageOf(error), "Look at the repository's disk and at the hub's log; do not rely on these backups before this passes.");
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
            ? 'Look at the network, and raise tunnel_connections where one connection is the limit.'
            : 'Look at the load of this machine and at its disks.',
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

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
