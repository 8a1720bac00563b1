import { parseArgs } from 'node:util';
import { programVersion } from './platform/config/version.js';

const USAGE = `Usage: sendense <command> [--config FILE]

Commands:
  hub       run the hub in the foreground; unless told otherwise it starts a node beside itself
  node      run a node in the foreground
  help      show this text
  version   show the version

Settings come from the YAML file of --config (or SENDENSE_CONFIG) and from SENDENSE_* variables, which win.
`;

async function main(argv: readonly string[]): Promise<void> {
  let parsed;
  try {
    parsed = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: { config: { type: 'string' }, help: { type: 'boolean', short: 'h' }, version: { type: 'boolean' } },
    });
  } catch (error) {
    refuse(error instanceof Error ? error.message : String(error));
  }
  const { values, positionals } = parsed;
  const [command, ...extra] = positionals;
  if (values.help === true) return show(USAGE);
  if (values.version === true) return show(`${programVersion()}\n`);
  if (extra.length > 0) refuse(`${String(command)} takes no further words, but there is: ${extra.join(' ')}`);
  switch (command) {
    case 'hub':
      // Loaded on demand: each program brings much that the others do not need.
      return (await import('./main.hub.js')).runHub(values.config);
    case 'node':
      return (await import('./main.node.js')).runNode(values.config);
    case 'help':
      return show(USAGE);
    case 'version':
      return show(`${programVersion()}\n`);
    case undefined:
      return refuse('a command is needed');
    default:
      return refuse(`there is no command ${JSON.stringify(command)}`);
  }
}

function show(text: string): void {
  process.stdout.write(text);
}

function refuse(problem: string): never {
  process.stderr.write(`sendense: ${problem}\n\n${USAGE}`);
  process.exit(2);
}

await main(process.argv.slice(2));
