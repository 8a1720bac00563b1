import { type ChildProcess, spawn } from 'node:child_process';
import { toolEnvironment } from './tool-environment.js';

/**
 * Starts a process in a session of its own, so that signals that end us do not reach it. Resolves once it exists. @param env in addition to PATH, HOME and the
 * like @param inherited open files @throws the system's error
 */
export function spawnDetached(
  [file, ...rest]: readonly [string, ...string[]],
  env: Readonly<Record<string, string>>,
  inherited: readonly number[] = [],
): Promise<ChildProcess> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, rest, {
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', 'ignore', ...inherited],
      cwd: '/',
      env: toolEnvironment(env),
    });
    child.unref();
    child.once('spawn', () => resolve(child));
    child.once('error', reject);
  });
}
