import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Uncompiled files import each other by their compiled names. */
const RESOLVE_TYPESCRIPT = `data:text/javascript,import{registerHooks}from'node:module';registerHooks({resolve(s,c,n){try{return n(s,c)}catch(e){return n(s.replace(/\\.js$/,'.ts'),c)}}})`;

/**
 * Arguments for Node.js to run one of our programs in a separate process.
 * @param program its compiled name next to the file that starts it, such as `new URL('./browser.process.js', import.meta.url)`; the uncompiled file is used
 * when only that exists
 */
export function siblingProgram(program: URL): readonly string[] {
  const compiled = fileURLToPath(program);
  const quiet = '--disable-warning=ExperimentalWarning';
  if (existsSync(compiled)) return [quiet, compiled];
  return [quiet, '--experimental-transform-types', '--import', RESOLVE_TYPESCRIPT, compiled.replace(/\.js$/, '.ts')];
}
