import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from '../../lib/logging/logger.js';
import { toolEnvironment } from '../../lib/process/tool-environment.js';
import { probeHub } from './tunnel-probe.js';
import { afterAnswer, afterEnd, FIRST_HUB } from './hub-choice.plan.js';
import { atAddress, causeOfEnd, sshArgv, type TunnelConnectionPlan } from './tunnel-ssh.plan.js';
import { hubAddresses } from '../interface/tunnel-settings.js';
import { type ConnectionState, pauseBeforeAttempt, type TunnelCause } from '../interface/tunnel-state.plan.js';

/** Intervals between probes of an established connection, and of one that is coming up. */
const PROBE_INTERVAL_MS = 3_000;
const FIRST_PROBE_INTERVAL_MS = 100;
const PROBE_TIMEOUT_MS = 5_000;
/** A connection that has not come up after this time is abandoned. ssh itself times out after ten seconds unless it hangs. */
const COME_UP_MS = 30_000;
/** A connection that has been silent for this long is broken if others have not been silent, */
const SILENT_MS = 12_000;
/** and after this long in any case. Longer, because a busy or stopped hub must not cost a connection that still transfers data. */
const ALL_SILENT_MS = 60_000;
/** A connection that lasted this long did not fail at startup. */
const STEADY_MS = 10_000;
const STOP_PATIENCE_MS = 5_000;
/** With several hubs: how soon to look at another one when this one does not answer, how often, and how long to wait for its answers. */
const MOVE_MS = 4_000;
const MOVE_PROBE_INTERVAL_MS = 1_000;
const MOVE_PROBE_TIMEOUT_MS = 2_000;
const MOVE_PAUSE_MS = 1_000;
const MAX_STDERR = 16_384;

export interface ConnectionDependencies {
  readonly log: Logger;
  readonly onChange: () => void;
  /** When another connection of the tunnel last received something, by performance.now(). */
  readonly othersHeardAt: () => number;
}

/** One SSH connection of a tunnel, re-established for as long as the tunnel runs. */
export class TunnelConnection {
  private current: ConnectionState = { kind: 'connecting' };
  private readonly leaving = new AbortController();
  private running: Promise<void> = Promise.resolve();
  private ssh: ChildProcess | null = null;
  private failures = 0;
  private choice = FIRST_HUB;
  private lastHeardAt = Number.NEGATIVE_INFINITY;
  /** Cuts short the pause before the next attempt. */
  private hurry = new AbortController();

  constructor(
    private plan: TunnelConnectionPlan,
    private readonly dependencies: ConnectionDependencies,
  ) {}

  get state(): ConnectionState {
    return this.current;
  }

  /** When it last received something from the hub's side, by performance.now(). */
  get heardAt(): number {
    return this.lastHeardAt;
  }

  /** Returns immediately. */
  start(): void {
    this.running = this.run();
  }

  /** Reconnects with another key or to another address. Returns immediately. */
  replace(plan: TunnelConnectionPlan): void {
    this.plan = plan;
    this.failures = 0;
    // The state of the old connection says nothing about the new one.
    this.become({ kind: 'connecting' });
    this.ssh?.kill('SIGTERM');
    this.hurry.abort();
  }

  async stop(): Promise<void> {
    this.leaving.abort();
    this.hurry.abort();
    await this.running;
  }

  private async run(): Promise<void> {
    while (!this.left()) {
      const began = performance.now();
      const plan = this.plan;
      const hubs = hubAddresses(plan.settings).length;
      const cause = await this.hold(atAddress(plan, this.choice.current));
      if (this.left()) return;
      if (plan !== this.plan) continue;
      this.choice = afterEnd(this.choice, cause.code, hubs, performance.now());
      this.failures = performance.now() - began > STEADY_MS && this.lastHeardAt > began ? 1 : this.failures + 1;
      const pauseMs = Math.min(pauseBeforeAttempt(this.failures, Math.random()), hubs > 1 ? MOVE_PAUSE_MS : Number.POSITIVE_INFINITY);
      this.dependencies.log.warn('connection to the hub is down', { connection: plan.index, ...cause, pause_ms: pauseMs });
      this.become({ kind: 'down', cause });
      this.hurry = new AbortController();
      await pause(pauseMs, undefined, { signal: AbortSignal.any([this.hurry.signal, this.leaving.signal]) }).catch(() => undefined);
    }
  }

  /** Runs one ssh from start to exit. @returns the reason for the exit */
  private async hold(plan: TunnelConnectionPlan): Promise<TunnelCause> {
    // It must not outlive this process: its ports would be in use after a restart.
    const ssh = spawn('setpriv', ['--pdeathsig', 'TERM', ...sshArgv(plan)], { stdio: ['ignore', 'ignore', 'pipe'], cwd: '/', env: toolEnvironment() });
    this.ssh = ssh;
    let stderr = '';
    ssh.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = `${stderr}${text}`.slice(-MAX_STDERR);
    });
    const over = new AbortController();
    const ended = new Promise<Error | null>((resolve) => {
      ssh.once('error', resolve);
      // `close` comes after the last output.
      ssh.once('close', () => {
        resolve(null);
      });
    }).finally(() => {
      over.abort();
    });
    const verdict = await this.watch(plan, AbortSignal.any([over.signal, this.leaving.signal]));
    const failure = await endProcess(ssh, ended);
    this.ssh = null;
    if (failure !== null || ssh.exitCode === 127) {
      return { code: 'tool_missing', detail: `ssh cannot be started: ${failure?.message ?? stderr.trim()}. It is in the package openssh-client.` };
    }
    return verdict ?? causeOfEnd(stderr, plan.settings);
  }

  /** Probes until the connection ends. @returns the reason to end it; null when it has ended or is being stopped */
  private async watch(plan: TunnelConnectionPlan, over: AbortSignal): Promise<TunnelCause | null> {
    const began = performance.now();
    const several = hubAddresses(plan.settings).length > 1;
    const timeoutMs = several ? MOVE_PROBE_TIMEOUT_MS : PROBE_TIMEOUT_MS;
    let silences = 0;
    let heard = false;
    let unansweredSince: number | null = null;
    const isOver = (): boolean => over.aborted;
    while (!isOver()) {
      const asked = performance.now();
      const outcome = await probeHub(plan.probeSocket, timeoutMs);
      if (isOver()) return null;
      const now = performance.now();
      if (outcome === 'answered') unansweredSince = null;
      else if (outcome !== 'absent') unansweredSince ??= asked;
      if (several && unansweredSince !== null && now - unansweredSince > MOVE_MS) {
        return { code: 'hub_not_answering', detail: `The hub at ${plan.settings.hub_host} does not answer; trying the next address.` };
      }
      switch (outcome) {
        case 'answered':
          this.choice = afterAnswer(this.choice);
          this.hear(now, { kind: 'up' });
          heard = true;
          silences = 0;
          break;
        case 'closed':
          this.hear(now, {
            kind: 'hub_away',
            cause: { code: 'hub_not_answering', detail: 'The connection is established, but no hub listens at its far end; it may be starting.' },
          });
          heard = true;
          silences = 0;
          break;
        case 'silent':
          silences += 1;
          if (heard && silences > 1) {
            this.become({
              kind: 'hub_away',
              cause: { code: 'hub_not_answering', detail: `The hub does not answer through the connection within ${timeoutMs} ms.` },
            });
          }
          break;
        case 'absent':
          break;
      }
      const silentSince = heard ? this.lastHeardAt : began;
      const othersHear = this.dependencies.othersHeardAt() > silentSince + SILENT_MS / 2;
      if (!heard && now - began > COME_UP_MS) {
        return { code: 'connect_timeout', detail: `The connection to ${plan.settings.hub_host} was not established within ${COME_UP_MS / 1000} s.` };
      }
      if (heard && now - silentSince > (othersHear ? SILENT_MS : ALL_SILENT_MS)) {
        return { code: 'no_answer', detail: `The connection has been silent for ${Math.round((now - silentSince) / 1000)} s.` };
      }
      await pause(heard ? (several ? MOVE_PROBE_INTERVAL_MS : PROBE_INTERVAL_MS) : FIRST_PROBE_INTERVAL_MS, undefined, { signal: over }).catch(() => undefined);
    }
    return null;
  }

  private left(): boolean {
    return this.leaving.signal.aborted;
  }

  private hear(at: number, state: ConnectionState): void {
    this.lastHeardAt = at;
    this.become(state);
  }

  private become(state: ConnectionState): void {
    const before = this.current;
    this.current = state;
    if (before.kind !== state.kind || ('cause' in before && 'cause' in state && before.cause.code !== state.cause.code)) this.dependencies.onChange();
  }
}

async function endProcess<End>(child: ChildProcess, ended: Promise<End>): Promise<End> {
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), STOP_PATIENCE_MS);
  const end = await ended;
  clearTimeout(killer);
  return end;
}
