import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

interface CruiseResult {
  readonly modules: readonly { readonly source: string; readonly dependencies: readonly { readonly resolved: string }[] }[];
}

/** Every file of the product with the files and packages that it imports, types included; paths relative to the project. */
export function cruisedImports(project: string): ReadonlyMap<string, readonly string[]> {
  const cruise = join(project, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
  const argv = [cruise, '--config', '.dependency-cruiser.cjs', '--output-type', 'json', 'src', 'projections', 'migrations'];
  const output = execFileSync(process.execPath, argv, { cwd: project, encoding: 'utf8', maxBuffer: 256 * 1024 * 1024 });
  const { modules } = JSON.parse(output) as CruiseResult; // of a tool of a fixed version
  return new Map(modules.map(({ source, dependencies }) => [source, dependencies.map(({ resolved }) => resolved)]));
}

/** The wing of a file: its folder in src/, or `projections` or `migrations`; undefined: none, as for a package. */
export function wingOf(file: string): string | undefined {
  const match = /^(?:src\/([^/]+)|(projections|migrations))\//.exec(file);
  return match?.[1] ?? match?.[2];
}
