import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Uncompiled files name each other as they will be called once compiled. */
const RESOLVE_TYPESCRIPT = `data:text/javascript,import{registerHooks}from'node:module';registerHooks({resolve(s,c,n){try{return n(s,c)}catch(e){return n(s.replace(/\\.js$/,'.ts'),c)}}})`;

/**
 * Arguments for Node.js to run a program of ours in a process of its own.
 * @param program its compiled name beside the file that starts it, such as `new URL('./browser.process.js', import.meta.url)`; it is taken uncompiled where only that is there
 */
export function siblingProgram(program: URL): readonly string[] {
  const compiled = fileURLToPath(program);
  const quiet = '--disable-warning=ExperimentalWarning';
  if (existsSync(compiled)) return [quiet, compiled];
  return [quiet, '--experimental-transform-types', '--import', RESOLVE_TYPESCRIPT, compiled.replace(/\.js$/, '.ts')];
}
