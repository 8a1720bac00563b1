import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { ensureHostKey } from '../../src/lib/ssh/host-key.js';
import { until } from './hub-system.js';

/** A plain sshd on loopback that lets in the keys of a tunnel directory. Ends by its pid. */
export class TestSshd {
  private constructor(
    private readonly child: ChildProcess,
    readonly port: number,
    /** `ssh-ed25519 <base64>` */
    readonly hostKey: string,
    private readonly logFile: string,
  ) {}

  /** @param directory where `authorized_keys` is looked for, and the host key made */
  static async start(directory: string, port: number): Promise<TestSshd> {
    const hostKey = await ensureHostKey(directory);
    // Where sshd that runs as root wants a place without rights; a container has none before its first service.
    if (process.getuid?.() === 0 && !existsSync('/run/sshd')) await mkdir('/run/sshd', { mode: 0o755 });
    const config = join(directory, 'sshd_config');
    const logFile = join(directory, 'sshd.log');
    await writeFile(
      config,
      [
        `Port ${port}`,
        'ListenAddress 127.0.0.1',
        `HostKey ${join(directory, 'host_ed25519')}`,
        `AuthorizedKeysFile ${join(directory, 'authorized_keys')}`,
        'StrictModes no',
        'UsePAM no',
        'PermitRootLogin prohibit-password',
        'PasswordAuthentication no',
        'KbdInteractiveAuthentication no',
        'PidFile none',
        'LogLevel VERBOSE',
        '',
      ].join('\n'),
    );
    const child = spawn('/usr/sbin/sshd', ['-D', '-f', config, '-E', logFile], { stdio: 'ignore' });
    const sshd = new TestSshd(child, port, hostKey, logFile);
    await until('sshd to listen', () => accepts(port));
    return sshd;
  }

  async log(): Promise<string> {
    return readFile(this.logFile, 'utf8');
  }

  async stop(): Promise<void> {
    this.child.kill('SIGTERM');
    await until('sshd to end', () => Promise.resolve(this.child.exitCode !== null || this.child.signalCode !== null));
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
