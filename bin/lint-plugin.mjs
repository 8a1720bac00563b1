import { basename, relative } from 'node:path';

/** Folders of hub and command line that know no context: they are tools of those that do. */
export const HUB_TOOLS = [
  'exports/nbd-servers',
  'nodes/local-node',
  'nodes/node-link',
  'operations/host-tools',
  'operations/http',
  'people/tokens',
  'repositories/repository-storage',
  'restore/downloads',
  'restore/mounts',
  'store',
];
export const CLI_TOOLS = ['api', 'config', 'ssh', 'terminal'];
/** Every file of a context of the hub, and of a command, is `<behaviour>.<role>.ts`. */
const CONTEXT_FILE = new RegExp(`^src/(?:hub/(?!(?:${HUB_TOOLS.join('|')})/)[^/]+/[^/]+/|cli/(?!(?:${CLI_TOOLS.join('|')})/)[^/]+/)`);
const KEBAB_CASE = /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)*\.ts$/;
const SAYS_NOTHING =
  /^(index|utils?|common|helpers?|misc|shared|types|constants|handler|controller|service|module|dto|reactor|plan|decide|state|events|commands)\.(spec\.)?ts$/;

/** Names tell what a file is about and which role it has; whoever looks for a behaviour finds it by name. */
const fileName = {
  meta: { type: 'suggestion', schema: [] },
  create: (context) => ({
    Program(node) {
      const name = basename(context.filename);
      const path = relative(context.cwd, context.filename);
      const report = (message) => context.report({ node, loc: { line: 1, column: 0 }, message });
      if (!KEBAB_CASE.test(name)) report(`${name}: file names are kebab-case`);
      else if (SAYS_NOTHING.test(name))
        report(`${name} does not say what it is about: call it <behaviour>.<role>.ts, and import files directly instead of through a barrel`);
      else if (CONTEXT_FILE.test(path) && !name.endsWith('.spec.ts') && name.split('.').length < 3) {
        report(`${name} has no role: call it <behaviour>.<role>.ts`);
      }
    },
  }),
};

export default { meta: { name: 'sendense' }, rules: { 'file-name': fileName } };
