import { Command, CommanderError, type ErrorOptions } from 'commander';
import { messageOf } from '../../kernel/error-message.js';

const FAILED = 1;
const WRONG_USAGE = 2;

/** A command or subcommand. Wrong usage ends it with exit code 2 and a hint, a failure with 1 and its message. */
export class CliCommand extends Command {
  constructor(name?: string) {
    super(name);
    // Positional: an option after the name of a subcommand belongs to the subcommand.
    this.enablePositionalOptions().exitOverride();
  }

  override createCommand(name?: string): CliCommand {
    return new CliCommand(name);
  }

  /**
   * @param work returns the exit code if it is not 0. An error it throws is printed, with `--json` as `{"error": {code, detail}}` too, and ends the program with
   * 1, or 2 for refused settings.
   */
  does(work: (...args: never[]) => unknown): this {
    return this.action(async (...args: unknown[]) => {
      let code: unknown;
      try {
        code = await work(...(args as never[]));
      } catch (error) {
        if (error instanceof CommanderError) throw error;
        const detail = messageOf(error);
        if (this.opts()['json'] === true) process.stdout.write(`${JSON.stringify({ error: { code: problemCode(error), detail } })}\n`);
        process.stderr.write(`${this.path()}: ${detail}\n`);
        // By name: every start would have to load the module of the class.
        code = error instanceof Error && error.name === 'ConfigError' ? WRONG_USAGE : FAILED;
      }
      if (typeof code === 'number' && code !== 0) throw new CommanderError(code, 'sendense.failed', '');
    });
  }

  /** Refuses the command line. */
  override error(message: string, { code }: ErrorOptions = {}): never {
    // A value given to an unknown option may be a secret.
    const shown = code === 'commander.excessArguments' && this.commands.length > 0 ? `unknown command '${this.args[0] ?? ''}'` : message;
    const problem = shown.replace(/^error: /, '').replace(/^(unknown option '[^=]*)=.*?'( |\n|$)/s, "$1'$2");
    process.stderr.write(`${this.path()}: ${problem}\nSee: ${this.path()} --help\n`);
    throw new CommanderError(WRONG_USAGE, 'sendense.usage', problem);
  }

  /** `sendense node enrol` */
  private path(): string {
    const above = this.parent;
    return above instanceof CliCommand ? `${above.path()} ${this.name()}` : this.name() === 'sendense' ? 'sendense' : `sendense ${this.name()}`;
  }
}

/** The code of a refusal by our own code or by the hub; system errors have codes of their own, in capitals. */
function problemCode(error: unknown): string {
  const code: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : null;
  return typeof code === 'string' && /^[a-z_]+$/.test(code) ? code : 'internal_error';
}

/** @param argv without the program's name @returns the exit code */
export async function runCommand(command: CliCommand, argv: readonly string[]): Promise<number> {
  try {
    await command.parseAsync(argv, { from: 'user' });
    return 0;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Help that nobody asked for: a subcommand is missing.
    return error.code === 'commander.help' && error.exitCode !== 0 ? WRONG_USAGE : error.exitCode;
  }
}
