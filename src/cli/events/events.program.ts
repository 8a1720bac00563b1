import { HubConfig } from '../../hub/hub.config.js';
import type { CopyProgress, CopyResult } from '../../hub/main.event-copy.js';
import { loadConfig } from '../../lib/config/load-config.js';
import { withEnvironmentFile } from '../config/environment-file.js';
import { CliCommand } from '../terminal/command.js';

interface CopyOptions {
  readonly from: string;
  readonly to: string;
  readonly config?: string;
  readonly ahead?: true;
  readonly json?: true;
}

const REPORT_MS = { terminal: 250, log: 10_000 };
const PHASES: Readonly<Record<CopyProgress['phase'], string>> = {
  comparing: 'compared with the target',
  copying: 'copied',
  checking: 'read back from the target',
};

export function eventsCommand(environment: NodeJS.ProcessEnv): CliCommand {
  const copy = new CliCommand('copy')
    .description('Copies all events of one event store to another, in order, and reads them back. The hub must be stopped. An interrupted copy is resumed.')
    .requiredOption('--from <store>', 'the store to read: "hub" for the one in the settings, a URL without a password, or a file that holds the URL')
    .requiredOption('--to <store>', 'the store to fill: empty, or with a beginning of the same history')
    .option('--config <file>', "the hub's settings (YAML); default: SENDENSE_CONFIG")
    .option('--ahead', 'copy what is there while the hub goes on working; a second copy, with the hub stopped, then adds the rest')
    .option('--json', 'print JSON, for programs')
    .addHelpText('after', '\nExit codes: 0 both stores hold the same events, 1 failed, 2 wrong usage or settings')
    .does(async (options: CopyOptions) => {
      const config = loadConfig(HubConfig, { file: options.config, environment: withEnvironmentFile(options.config, environment) });
      // Loaded on demand: a node's release has no database client.
      const { copyStores } = await import('../../hub/main.event-copy.js');
      const interrupted = new AbortController();
      const interrupt = (): void => interrupted.abort(new Error('interrupted; the same command resumes the copy'));
      process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
      const started = performance.now();
      try {
        const result = await copyStores({ ...options, config, signal: interrupted.signal, report: progressReport() });
        const seconds = (performance.now() - started) / 1000;
        process.stdout.write(options.json === true ? `${JSON.stringify({ ...result, seconds })}\n` : summary(result, seconds, options.ahead === true));
      } finally {
        if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
        process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
      }
    });
  return new CliCommand('events').description('Moves the history of a hub to another event store.').addCommand(copy);
}

function progressReport(): (progress: CopyProgress) => void {
  const terminal = process.stderr.isTTY;
  let reportedAt = performance.now();
  return ({ phase, events }) => {
    if (performance.now() - reportedAt < (terminal ? REPORT_MS.terminal : REPORT_MS.log)) return;
    reportedAt = performance.now();
    const line = `${events} events ${PHASES[phase]}`;
    process.stderr.write(terminal ? `\r\u001b[K${line}` : `${line}\n`);
  };
}

function summary({ events, copied, ledger_root }: CopyResult, seconds: number, ahead: boolean): string {
  const rest = ahead ? 'New events of the hub are not among them: stop it and repeat the command without --ahead.\n' : '';
  return `${copied} events copied, ${events - copied} were there already, in ${seconds.toFixed(0)} s.\nBoth stores hold ${events} events; the root of the ledger over them is ${ledger_root}\n${rest}`;
}
