import { type ChildProcess, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';

/**
 * Holds a write lease on the file (fcntl(2), F_SETLEASE), so that the kernel reports every program that opens it, and takes the lease again as soon as that program is gone.
 * Looking at the file's attributes is not opening it.
 */
const HOLD_LEASE = `
  $| = 1;
  open(my $file, '+<', $ARGV[0]) or die "$ARGV[0]: $!";
  my $held = 0;
  $SIG{IO} = sub { fcntl($file, 1024, 2); $held = 0; print "opened\\n" };
  my $ready = 0;
  while (1) {
    $held = 1 if !$held && fcntl($file, 1024, 1);
    if ($held && !$ready) { print "ready\\n"; $ready = 1 }
    select(undef, undef, undef, 0.005);
  }
`;

/** A file that nobody may open. Needs perl, and a file system with leases. */
export class OpenCanary {
  private opened = 0;

  private constructor(
    readonly path: string,
    private readonly holder: ChildProcess,
  ) {}

  static async create(path: string, content: string | Buffer): Promise<OpenCanary> {
    await writeFile(path, content, { mode: 0o600 });
    const holder = spawn('perl', ['-e', HOLD_LEASE, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    const canary = new OpenCanary(path, holder);
    await new Promise<void>((resolve, reject) => {
      holder.once('exit', (code) => reject(new Error(`the canary's holder ended with ${code}`)));
      holder.stdout.setEncoding('utf8').on('data', (text: string) => {
        canary.opened += text.split('opened').length - 1;
        if (text.includes('ready')) resolve();
      });
    });
    return canary;
  }

  /** How often it was opened so far. An opening waits until it is reported, so none that has returned is missing but by the way of its report. */
  get openings(): number {
    return this.opened;
  }

  stop(): void {
    this.holder.removeAllListeners('exit');
    this.holder.kill('SIGKILL');
  }
}
