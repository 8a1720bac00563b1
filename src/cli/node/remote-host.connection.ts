import type { RemoteOutput, SshSession } from '../ssh/ssh-session.js';
import { DeployError } from './deployment.error.js';

/** How remote programs get root privileges. */
type Elevation = { readonly kind: 'root' } | { readonly kind: 'sudo' } | { readonly kind: 'sudo-with-password'; readonly password: string };

const LAST_WORDS = 2000;

/** The target machine, over a connection whose host key was checked. */
export class RemoteHost {
  private constructor(
    private readonly session: SshSession,
    private readonly elevation: Elevation,
  ) {}

  /** @param askSecret asks for sudo's password when sudo needs one @throws DeployError when the remote user cannot become root */
  static async on(session: SshSession, askSecret: (question: string) => Promise<string | null>): Promise<RemoteHost> {
    const { stdout } = await session.run(['id', '-u']);
    if (stdout.trim() === '0') return new RemoteHost(session, { kind: 'root' });
    if ((await session.run(['sudo', '-k', '-n', 'true'])).exitCode === 0) return new RemoteHost(session, { kind: 'sudo' });
    const password = await askSecret(`Password for sudo on ${session.host}: `);
    const host = password === null ? null : new RemoteHost(session, { kind: 'sudo-with-password', password });
    if (host !== null && (await host.tryAsRoot(['true'])).exitCode === 0) return host;
    throw new DeployError(`the user on ${session.host} is not root and cannot use sudo; log in as root@${session.host}, or allow the user sudo`);
  }

  get name(): string {
    return this.session.host;
  }

  /** Runs a program as the login user. @throws DeployError with the end of its output when it fails */
  async run(argv: readonly [string, ...string[]], input = ''): Promise<RemoteOutput> {
    return this.answerOf(argv, await this.session.run(argv, input));
  }

  /** Like run(), as root. */
  async runAsRoot(argv: readonly [string, ...string[]], input = ''): Promise<RemoteOutput> {
    return this.answerOf(argv, await this.tryAsRoot(argv, input));
  }

  /** Like runAsRoot(), but returns any exit code. */
  async tryAsRoot(argv: readonly [string, ...string[]], input = ''): Promise<RemoteOutput> {
    switch (this.elevation.kind) {
      case 'root':
        return this.session.run(argv, input);
      case 'sudo':
        return this.session.run(['sudo', '-n', '--', ...argv], input);
      case 'sudo-with-password':
        // -k makes sudo ask every time, so that sudo and never the program reads the first line.
        return this.session.run(['sudo', '-k', '-S', '-p', '', '--', ...argv], `${this.elevation.password}\n${input}`);
    }
  }

  copy(file: string, remotePath: string): Promise<void> {
    return this.session.put(file, remotePath);
  }

  private answerOf(argv: readonly string[], output: RemoteOutput): RemoteOutput {
    const { exitCode, stdout, stderr } = output;
    if (exitCode === 0) return output;
    const words = `${stderr}${stdout}`.trim().slice(-LAST_WORDS);
    throw new DeployError(`on ${this.name}, '${argv.slice(0, 6).join(' ')}' failed with exit code ${exitCode}${words === '' ? '' : `:\n${indented(words)}`}`);
  }
}

function indented(text: string): string {
  return text
    .split('\n')
    .map((line) => `    ${line}`)
    .join('\n');
}
